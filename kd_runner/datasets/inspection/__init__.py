"""What a data set holds, in numbers and pictures, and what in it is not as it should be."""
