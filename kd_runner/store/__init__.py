"""Networks trained once."""
