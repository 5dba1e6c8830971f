"""Measured failure patterns: properties of images, found on one half of the images, confirmed on the other."""
