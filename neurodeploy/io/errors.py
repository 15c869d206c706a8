"""The two ways in which work can end badly, as the command line reports them."""


class UserError(ValueError):
    """Bad input: the message names the file, layer or field, what was found, what was expected and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class Failure(RuntimeError):
    """The input was good, but the result is not: a verification that found differences, a device that is missing.

    The command line prints the message without a traceback and exits with code 1.
    """
