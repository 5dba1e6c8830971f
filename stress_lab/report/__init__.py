"""Records to words and pages for people."""
