"""Reports of runs and sweeps, for a terminal, a browser and programs."""
