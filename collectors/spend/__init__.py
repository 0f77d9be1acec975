"""Sources of the spend layer."""
