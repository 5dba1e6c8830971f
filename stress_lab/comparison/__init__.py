"""The comparison of variants as one record, computed from the runs' records or from prediction files alone."""
