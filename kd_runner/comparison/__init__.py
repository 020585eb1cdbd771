"""What one group of runs gained over another, and how sure that is."""
