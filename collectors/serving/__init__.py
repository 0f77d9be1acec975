"""Sources of the serving layer."""
