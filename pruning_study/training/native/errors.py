"""The error of the native engine."""


class NativeError(Exception):
    """The native engine cannot run on this machine or cannot run this model.

    The message is the reason, worded to follow a colon.
    """


class UnsupportedModelError(NativeError):
    """The native engine cannot run this model."""
