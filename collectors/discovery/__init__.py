"""Servers of this node and what kind each is."""
