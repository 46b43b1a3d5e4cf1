"""What reads an answer in a text and compares it with the gold one. Not here: where golds come from (tasks)."""
