"""Where a net found evidence for a class: maps from images and targets."""
