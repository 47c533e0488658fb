"""Heads that two servers may read in two ways are refused, before h11 reads them in one.

h11 is lenient where RFC 9112 lets a server be: bare line feeds, folded lines, control characters in
values, lengths said twice.  A proxy in front of us that reads such a head otherwise would see other
requests than we do, and what it keeps from its users could be smuggled past it (RFC 9112, 11.2).
"""

import re

import h11

LENGTH_DIGITS_MAX = 18
"""More would not fit the 64 bits that some upstream counts in."""
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_START = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/1\.([01])" % _TOKEN)
_FIELD = re.compile(rb"(%b):[ \t]*([ \t\x21-\x7e\x80-\xff]*)" % _TOKEN)
_LENGTH = re.compile(rb"[0-9]{1,%d}" % LENGTH_DIGITS_MAX)
_URL = re.compile(rb"https?://", re.IGNORECASE)
_END = re.compile(rb"\n\r?\n")
"""Where h11 ends a head."""


def problem(head: bytes) -> str | None:
    r"""Return what is wrong with the whole head of a request; None: nothing.

    >>> problem(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    >>> problem(b"GET / HTTP/1.1\nHost: localhost\r\n\r\n")
    'its request line is none'
    """
    if not head.endswith(b"\r\n\r\n"):
        return "its head does not end in an empty line"
    first, *lines = head[:-4].split(b"\r\n")
    start = _START.fullmatch(first)
    if start is None:
        return "its request line is none"
    method, target, minor = start.groups()
    if method == b"CONNECT":
        return "there are no tunnels here"
    plain = target.startswith(b"/") or _URL.match(target)
    if not plain and (method, target) != (b"OPTIONS", b"*"):
        return "its target is neither a path nor a URL"
    lengths, codings = [], 0
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            return "a line of its head is no `Name: value`"
        name = field[1].lower()
        if name == b"content-length":
            lengths.append(field[2].rstrip())
        elif name == b"transfer-encoding":
            codings += 1
    if len(lengths) + codings > 1:
        return "the length of its body is said twice"
    if lengths and _LENGTH.fullmatch(lengths[0]) is None:
        return "its Content-Length is no number, or too large"
    if codings and minor == b"0":
        return "HTTP/1.0 has no Transfer-Encoding"
    return None


class StrictConnection(h11.Connection):
    """h11's connection of a server, which looks at each head first."""

    problem: str | None = None
    """What was wrong with the head that was refused."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what came.

        Raises:
            h11.RemoteProtocolError: it is no HTTP/1.1.
        """
        if self.their_state is h11.IDLE:
            data, _ = self.trailing_data
            end = _END.search(data)
            if end is not None:
                self.problem = problem(data[: end.end()])
                if self.problem is not None:
                    raise h11.RemoteProtocolError(self.problem, error_status_hint=400)
        return super().next_event()
