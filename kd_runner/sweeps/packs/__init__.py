"""Jobs that train side by side in one process."""
