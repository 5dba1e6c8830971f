"""The folder of a run, and finding runs; the only package that knows its file names."""
