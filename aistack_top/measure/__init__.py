"""Clocks, counters and quantiles: the arithmetic of measurement."""
