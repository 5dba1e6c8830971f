"""The folder of a run, and finding runs; the only room that knows its file names."""
