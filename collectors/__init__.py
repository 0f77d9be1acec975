"""One small module or table per source system, in a folder per layer, plus what they share."""
