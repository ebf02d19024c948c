"""Certhaven: certificate management that an organisation runs in its own cloud account."""

__version__ = "0.1.0"
