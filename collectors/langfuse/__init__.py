"""Langfuse calls, by its public API."""
