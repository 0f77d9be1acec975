"""Sources of the tracing layer."""
