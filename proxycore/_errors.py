"""Whose fault it was decides the class.  A fault of the world is an event, never an exception."""


class ProxyCoreError(Exception):
    """The base of everything that this package raises."""


class LocalError(ProxyCoreError):
    """The caller's fault: an unknown service, a ticket used twice, a clock that ran backwards.

    Everything that may be refused is checked first: after a `LocalError` nothing has changed.
    """


class InvariantError(ProxyCoreError):
    """Our fault: the core caught itself breaking a promise.

    Stop, start again and adopt what runs; going on would be worse.
    """
