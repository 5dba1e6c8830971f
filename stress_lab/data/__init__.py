"""Where images come from: find, verify, decode once, split, and serve in batches."""
