"""Prices: GPU hours and tokens."""
