"""A network that is used elsewhere: its file in other formats, smaller, and proved on the images of its run."""
