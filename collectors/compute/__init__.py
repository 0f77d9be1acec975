"""Sources of the compute layer."""
