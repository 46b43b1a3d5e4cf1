"""What fine-tunes on the chosen rationales. Not here: which those are (selectors)."""
