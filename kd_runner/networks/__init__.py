"""Work on any network: finding its layers, hooks, weights on disk, faster calls."""
