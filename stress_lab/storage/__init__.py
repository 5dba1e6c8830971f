"""What is on disk besides the records: sets of files, seals, launches, checkpoint files."""
