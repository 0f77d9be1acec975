"""Numbers, timestamps, sanitized text and incidents as text."""
