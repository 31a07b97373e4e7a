"""Why the native engine cannot be had."""


class NativeError(Exception):
    """The native engine cannot run here, or not this model: the message, a clause, says why."""
