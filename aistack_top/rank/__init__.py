"""Rank the columns of any metrics table by how well they explain an incident."""
