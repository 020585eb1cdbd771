"""Proof of a run: its stored networks evaluated again, and the whole run made again, beside what it reported."""
