"""From the words that a person typed to settings."""
