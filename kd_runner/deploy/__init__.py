"""The student at work: predictions, evaluation on other images, and what is handed on."""
