"""Labels that may be wrong: confident learning, the error rate from what was checked, near-duplicate images."""
