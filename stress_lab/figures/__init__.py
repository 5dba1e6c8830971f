"""Records to figures: every function returns a matplotlib Figure that belongs to the caller; none touches pyplot's state."""
