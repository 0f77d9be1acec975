"""The vocabulary of the program: entities, signals, ticks, incidents, feeds."""
