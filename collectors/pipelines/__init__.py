"""Sources of the pipelines layer."""
