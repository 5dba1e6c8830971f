"""Records to figures: each function returns a matplotlib Figure that is the caller's; none touches pyplot's state."""
