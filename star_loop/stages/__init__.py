"""The lines of the loop, a file each.

A stage is run once an iteration; it returns its result and its figures, and keeps its files through the run directory.
Not here: what a method decides (samplers, allocators, selectors) and what generates or trains.
"""
