"""Errors a user can fix: each message is one sentence that says what is wrong, where, and what to type instead."""


class StressLabError(Exception):
    """A mistake in the input, not in the program; the commands print it without a traceback and exit with status 2."""


class InputError(StressLabError, ValueError):
    """An argument of a function of the Python API cannot work; the message names it and says what to pass instead."""


class ConfigError(StressLabError):
    """A config key has a value that cannot work, or two keys contradict each other."""


class DataError(StressLabError):
    """Images are missing, broken, or not what the config says they are."""


class RunError(StressLabError):
    """A run folder lacks a record, or holds one that cannot be read."""


class PairingError(StressLabError):
    """Two runs cannot be compared, because they did not see the same test images."""
