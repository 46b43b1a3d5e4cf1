"""What is settled before an iteration collects, such as B-STaR's temperature. Not here: asking the model."""
