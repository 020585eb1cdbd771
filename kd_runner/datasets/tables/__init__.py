"""Tables of images, whoever wrote them: their files, their rows, and the labels in their cells."""
