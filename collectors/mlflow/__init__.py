"""MLflow runs, training metrics and model registry."""
