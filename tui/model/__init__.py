"""What the screens show: the console's state, views, time, filters."""
