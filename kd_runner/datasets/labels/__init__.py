"""Labels: several for an image, none, wrong ones on purpose, and what an image has beside its label."""
