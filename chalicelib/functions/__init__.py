"""What the service does, one file per function; each knows only the domain and the ports."""
