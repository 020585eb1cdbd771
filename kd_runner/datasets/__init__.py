"""Data sets: one module for each option of the group, and `splits`, which they return; helpers lie in folders."""
