"""Which observations next, a file for each order. Not here: how many rollouts each (allocators)."""
