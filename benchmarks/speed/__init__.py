"""How fast it is: every row of docs/speed.md, measured side by side with what a user would otherwise run."""
