"""What must hold before anything trains, and settings that would have no effect."""
