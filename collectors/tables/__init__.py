"""The tables of metrics pages: one TOML file a source."""
