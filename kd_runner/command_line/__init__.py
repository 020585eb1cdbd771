"""The way from the words that a person typed to settings."""
