"""The gain of one group of runs over another, and how sure it is."""
