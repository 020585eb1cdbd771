"""Judgements of trained networks on validation images, and notes on what is in doubt."""
