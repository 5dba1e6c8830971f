"""A net that is trained already: find it, load its weights, preprocess images as it expects, and record a run."""
