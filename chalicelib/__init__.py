"""Certhaven: certificate management that an organisation runs in its own cloud account."""
