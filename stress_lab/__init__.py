"""Find where an image classifier fails with confidence, see why, and tell whether the fix truly helped."""
