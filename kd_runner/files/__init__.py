"""Files on disk: their names in the folders of runs and sweeps, how they are written, and runs read back."""
