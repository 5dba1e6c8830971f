"""Many runs: planned, launched wherever they run, resumed, and compared at the end."""
