"""Whether a confidence of 80 % is right in 80 % of the cases."""
