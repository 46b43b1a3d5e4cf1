"""What `make real` reaches: a pretrained model on word problems, beside all of its own baselines, over seeds."""
