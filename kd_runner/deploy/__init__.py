"""The student at work: predictions, evaluation on other images, other formats, and what is handed on."""
