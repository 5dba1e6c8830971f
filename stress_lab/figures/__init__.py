"""Records to figures: each function returns a matplotlib Figure that the caller owns; none touches pyplot's state."""
