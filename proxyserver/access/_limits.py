"""How much a key may ask: a bucket of tokens and a count of what is in flight; pure.

The bucket holds a minute's worth and fills evenly: who was quiet may ask all at once, and nobody
asks more than twice the rate within a minute, or more than the rate for longer.
"""

import attrs


@attrs.frozen
class Shortage:
    """Why a request has to wait, and how long at least; None: until another one ends."""

    message: str
    retry_after_s: float | None


@attrs.define
class Allowance:
    """What is left of the limits of one key.

    >>> allowance = Allowance(per_minute=1)
    >>> allowance.take(10.0), allowance.take(10.0).retry_after_s, allowance.take(70.0)
    (None, 60.0, None)
    """

    per_minute: int | None = None
    at_once: int | None = None
    in_flight: int = attrs.field(default=0, init=False)
    _tokens: float = attrs.field(init=False)
    _filled_at: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self.per_minute or 0)

    def take(self, now: float) -> Shortage | None:
        """Take a token and a place; if there is none, take nothing and return why."""
        self._fill(now)
        if self.at_once is not None and self.in_flight >= self.at_once:
            return Shortage(
                f"it has {self.in_flight} requests in flight, and no more at once", None
            )
        if self.per_minute is not None:
            if self._tokens < 1.0:
                wait_s = (1.0 - self._tokens) * 60 / self.per_minute
                return Shortage(f"it may ask {self.per_minute} times a minute", wait_s)
            self._tokens -= 1.0
        self.in_flight += 1
        return None

    def give_back(self) -> None:
        """Give the place back; the token is spent."""
        assert self.in_flight > 0, "a place is given back once"
        self.in_flight -= 1

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return what OpenAI's clients know of it, as of the last `take`."""
        if self.per_minute is None:
            return ()
        reset_s = (self.per_minute - self._tokens) * 60 / self.per_minute
        return (
            (b"x-ratelimit-limit-requests", b"%d" % self.per_minute),
            (b"x-ratelimit-remaining-requests", b"%d" % int(self._tokens)),
            (b"x-ratelimit-reset-requests", b"%.3fs" % reset_s),
        )

    def _fill(self, now: float) -> None:
        if self.per_minute is not None and self._filled_at is not None:
            now = max(now, self._filled_at)
            gained = (now - self._filled_at) * self.per_minute / 60
            self._tokens = min(float(self.per_minute), self._tokens + gained)
        self._filled_at = now
