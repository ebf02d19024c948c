"""The HTTP API: thin routes grouped by resource."""
