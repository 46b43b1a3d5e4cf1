"""Child processes of this program. Not here: what they are asked to do."""
