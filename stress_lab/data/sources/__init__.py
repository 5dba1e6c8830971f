"""Finders and readers: one module per format, each turning files into verified arrays."""
