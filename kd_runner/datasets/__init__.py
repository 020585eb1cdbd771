"""Data sets: one module for each option of the group; below them, how files become images and labels."""
