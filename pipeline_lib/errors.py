"""The one error that a user can mend."""


class InputError(ValueError):
    """A file, label, parameter or checkpoint of the user's is not what it should be.

    The message says where, what is, what was expected and, where it can be guessed, the cause. Commands print it
    without a traceback; every other exception is a fault of ours and keeps its traceback.
    """
