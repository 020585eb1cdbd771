"""kd-runner from Python: `kd_runner.run`, its result, and networks, modes and data sets that are objects."""
