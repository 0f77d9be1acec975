"""vLLM engines."""
