"""The one exception that a user's input can raise."""


class InputError(ValueError):
    """Bad input: its message is one line that names the file, option or argument and the way out."""
