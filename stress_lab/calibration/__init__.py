"""Calibration: whether predictions with 80 % confidence are right 80 % of the time."""
