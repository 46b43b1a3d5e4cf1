"""How fast it is: every row of README's table of speed, measured side by side with what a user would otherwise run."""
