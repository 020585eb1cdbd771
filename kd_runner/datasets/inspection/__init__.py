"""The contents of a data set, in numbers and pictures, and what in it is not as it should be."""
