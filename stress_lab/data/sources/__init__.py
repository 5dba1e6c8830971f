"""Finders and readers: one module a format, each turning files into verified arrays."""
