"""What a node and the managed calls beside it cost: prices, arithmetic, and the ``spend.*`` signals."""
