"""Sessions on disk: recorded, opened, replayed, exported."""
