"""CPU, memory, disks and network of this node."""
