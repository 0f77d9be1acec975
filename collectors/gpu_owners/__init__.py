"""Which engine holds which GPU, with proof."""
