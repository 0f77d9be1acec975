"""Interruption and maintenance notices of the instance's cloud."""
