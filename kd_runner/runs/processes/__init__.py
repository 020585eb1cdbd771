"""The processes and threads that share one run."""
