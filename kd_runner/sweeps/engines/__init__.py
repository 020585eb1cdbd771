"""Engines: places where the jobs of a sweep run."""
