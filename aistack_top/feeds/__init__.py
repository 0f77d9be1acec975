"""Feeds made of other feeds: each adds one thing to the ticks of the one below it."""
