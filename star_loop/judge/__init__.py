"""What a verifier reads in a text, stage by stage: `python -m star_loop.judge`. Not here: how it reads (verifiers)."""
