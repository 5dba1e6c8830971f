"""Transforms of whole batches of tensors, each with its random numbers drawn ahead for every image of an epoch."""
