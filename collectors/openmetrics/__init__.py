"""Metrics pages in Prometheus text format, read by tables."""
