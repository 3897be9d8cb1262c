"""The one exception that a user's input can raise."""


class InputError(ValueError):
    """Bad input: the message is one line that names file, option or argument, and the way out."""
