"""What networks predict, and numbers and pictures of it."""
