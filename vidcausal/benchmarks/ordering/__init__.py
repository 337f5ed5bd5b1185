"""Steps of a task in their order."""
