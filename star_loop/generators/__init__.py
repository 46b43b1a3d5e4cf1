"""What writes rationales: engines and their processes. Not here: what judges them (verifiers)."""
