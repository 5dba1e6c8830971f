"""From a config to the records of a run."""
