"""What is counted: statistics, metrics, tokens, FLOPs. Not here: anything that decides."""
