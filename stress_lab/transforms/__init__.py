"""Transforms of whole batches of tensors, with random numbers drawn ahead for every image of an epoch."""
