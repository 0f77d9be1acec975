"""`aistack-top doctor`: checks and permissions."""
