"""What each selection method is worth: the methods at equal budgets, over seeds, on the embedded model."""
