"""The answer of the conductor to a request or a start that gets no place, as an exception."""

from proxycore import Reason, ServiceId


class Refused(Exception):
    """There will be no place, and why.

    Attributes:
        service: who would have served.
        reason: why, for programs.
        message: why, for people.
        retry_after_s: when another try may do better; None: not before somebody changes something.
    """

    def __init__(
        self, service: ServiceId, reason: Reason, message: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.service = service
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s
