"""The screens as data: TOML files and the one loader that validates them."""
