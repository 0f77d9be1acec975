"""What is kept in memory: the timeline, calls, facts, links, incidents, and a frame of them."""
