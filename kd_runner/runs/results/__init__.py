"""The parts of a run's result: numbers of the test images, budgets, attacked images, chains and peers."""
