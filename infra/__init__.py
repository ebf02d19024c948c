"""Packaging Certhaven, running it on this machine, and deploying it to AWS."""
