"""Images inside other files: shards, saved data sets, and the splits that are made of them."""
