"""From the command line to a tree of checked components, and the help about it. Not here: data and models."""
