"""The simulated node of `aistack-top demo`."""
