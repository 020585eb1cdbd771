"""Parts of a data set: folds, cuts that separate no group, a few images of each class."""
