"""Where questions, answers and prompts come from. Not here: how an answer is judged (verifiers)."""
