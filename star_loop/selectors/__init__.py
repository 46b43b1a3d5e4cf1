"""Which correct rationales are trained on, and with what weight. Not here: what scores them (scorers)."""
