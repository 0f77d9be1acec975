"""The sections of a layer's screen: from a section of `layouts.layers` to rows of a board."""
