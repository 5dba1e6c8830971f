"""What lies on disk beside the records: sets of files, seals, launches, checkpoints as files."""
