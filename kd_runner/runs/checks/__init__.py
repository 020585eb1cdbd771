"""Checks of what must hold before anything trains, and of settings that would have no effect."""
