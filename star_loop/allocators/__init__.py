"""How many rollouts each observation gets, a file for each rule. Not here: which observations (samplers)."""
