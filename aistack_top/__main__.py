"""Lets ``python -m aistack_top`` do what the ``aistack-top`` script does."""

from tui.cli import main

if __name__ == "__main__":
    main()
