"""The exceptions that are told in one line."""


class InputError(ValueError):
    """Bad input: the message is one line that names file, option or argument, and the way out."""


class StoppedError(RuntimeError):
    """Something outside ended the work: one line that says what, and how to go on."""
