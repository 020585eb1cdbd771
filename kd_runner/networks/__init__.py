"""What is done with any network."""
