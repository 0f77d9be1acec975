"""Sources of the training layer."""
