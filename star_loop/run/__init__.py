"""The run directory: its files, their checksums, who may continue it. Not here: what generates, judges or trains."""
