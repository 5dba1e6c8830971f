"""Whatever is typed or read ends in success or in one sentence; ``benchmarks/fuzz.py`` tries many more cases."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import arguments, check_config_door, check_prediction_reader, prediction_files

SLOW = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
LIMIT = timedelta(seconds=20)  # a hang is none that a busy machine explains


@pytest.mark.slow
@settings(max_examples=25, derandomize=True, deadline=LIMIT, suppress_health_check=SLOW, database=None)
@given(arguments())
def test_no_argument_ends_in_a_traceback(typed):
    check_config_door(typed)


@pytest.mark.slow
@settings(max_examples=250, derandomize=True, deadline=LIMIT, suppress_health_check=SLOW, database=None)
@given(st.lists(prediction_files(), min_size=1, max_size=2), st.booleans())
def test_no_file_of_predictions_ends_in_a_traceback(files, with_labels):
    check_prediction_reader(files, with_labels)


@settings(max_examples=40, derandomize=True, deadline=LIMIT, suppress_health_check=SLOW, database=None)
@given(st.lists(prediction_files(), min_size=1, max_size=2), st.booleans())
def test_few_files_of_predictions_end_in_no_traceback(files, with_labels):
    check_prediction_reader(files, with_labels)
