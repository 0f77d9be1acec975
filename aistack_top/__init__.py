"""The ground floor of aistack-top: signals, time, sessions, diagnosis. Knows no network and no screen."""

__version__ = "0.2.0.dev0"
