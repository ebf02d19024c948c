"""Pure values and rules: no clock, no client, no environment."""
