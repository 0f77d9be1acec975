"""Feeds that wrap a feed: each adds one thing to the ticks that pass through."""
