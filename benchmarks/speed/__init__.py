"""Time and memory of the gradient engine against one training step and against its peers."""
