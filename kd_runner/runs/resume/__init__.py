"""Runs that go on: what must be as it was, what stands, and who may write into the folder."""
