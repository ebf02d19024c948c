"""An emulation of Alibaba Cloud for tests and for the local stack: a real HTTP server that speaks its protocol.

`server` takes requests and checks their signatures (`signature`); `pca` and `cas` are its products; `world` gives a
newcomer something to look at. What it answers follows the official SDKs' models.
"""
