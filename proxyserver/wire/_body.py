"""Finds the end of a body without touching it: by its length, by its chunks, or never.

What passes is never framed anew, so nothing is lost of it (the extensions of chunks, trailers), and
nothing is added.  A body knows at any time how far it has come, so that a part of it that was held
can be sent in another form before the rest goes on as it is.
"""

import re
from typing import TypeAlias

from ._errors import BadWire
from ._head import CHUNKED, FIELDS, LINE, TOKEN, UNTIL_CLOSE, Header

Buffer: TypeAlias = bytes | bytearray
Piece: TypeAlias = tuple[int, int]
"""Where in a buffer some bytes of the payload are."""

NEWLINE = b"\r\n"
LINE_MAX = 512
"""Of a chunk's size, with its extensions."""
TRAILERS_MAX = 16 * 1024
NO_TRAILERS = frozenset(
    b"authorization connection content-encoding content-length content-range content-type cookie"
    b" expect forwarded host keep-alive max-forwards range set-cookie te trailer transfer-encoding"
    b" upgrade x-api-key x-forwarded-for x-forwarded-host x-forwarded-prefix x-forwarded-proto"
    b" x-request-id".split()
)
_SIZE = rb"([0-9a-fA-F]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*+)?\r\n"
"""Fifteen digits fit into 63 bits."""
_FIRST_LINE = re.compile(_SIZE)
_NEXT_LINE = re.compile(rb"\r\n" + _SIZE)
_TRAILERS = re.compile(rb"(%s)\r\n" % FIELDS)


class LengthBody:
    """A body of so many bytes."""

    between = False
    """Whether something could be put in here."""
    chunks = 0
    """How many have begun: of a stream of events, one each, as servers write them."""

    def __init__(self, length: int) -> None:
        self.payload = 0
        """How many bytes of the payload have passed."""
        self.done = length == 0
        self._left = length

    def take(self, data: Buffer, start: int, end: int, pieces: list[Piece] | None = None) -> int:
        """Follow the body through `data[start:end]`; return where it ends, or `end`.

        Args:
            data: A buffer.
            start: Where the body goes on in it.
            end: Where what was received ends.
            pieces: Gets the places of the payload.
        """
        left = self._left
        size = end - start
        if size >= left:
            size = left
            self.done = True
        self._left = left - size
        self.payload += size
        if pieces is not None and size:
            pieces.append((start, start + size))
        return start + size

    def around(self, size: int) -> tuple[bytes, bytes]:
        """Return what to put before and after the payload so far, so that the rest can follow."""
        return b"", b""


class EndlessBody:
    """A body that ends with its connection."""

    between = True

    def __init__(self) -> None:
        self.payload = 0
        self.chunks = 0
        self.done = False

    def take(self, data: Buffer, start: int, end: int, pieces: list[Piece] | None = None) -> int:
        self.payload += end - start
        self.chunks += 1
        if pieces is not None and end > start:
            pieces.append((start, end))
        return end


class ChunkedBody:
    """A body in chunks."""

    def __init__(self) -> None:
        self.payload = 0
        self.chunks = 0
        self.done = False
        self.chunk_left = 0
        """How many bytes are still to come of the chunk that has begun."""
        self._line = _FIRST_LINE
        self._line_max = LINE_MAX
        self._held = b""
        """The beginning of a line (or of the trailers) whose end has not come yet."""
        self._trailers = b""

    @property
    def trailers(self) -> list[Header]:
        """The fields after the last chunk, names in their case."""
        return [
            (name, value.rstrip(b" \t")) for name, value in LINE.findall(b"\n" + self._trailers)
        ]

    @property
    def between(self) -> bool:
        """Whether a chunk of somebody else could be put in here."""
        begun = b"\r\n" if self._line is _NEXT_LINE else b""
        return self.chunk_left == 0 and self._held == begun and self._line is not _TRAILERS

    def take(self, data: Buffer, start: int, end: int, pieces: list[Piece] | None = None) -> int:
        """Follow the body, as `LengthBody.take` does.

        Raises:
            BadWire: these are no chunks, or not in a way that all servers read alike.
        """
        at = start
        left = self.chunk_left
        while at < end:
            if left:
                # A fast stream has a thousand chunks in a buffer: this is its innermost loop.
                size = left if left <= end - at else end - at
                if pieces is not None:
                    pieces.append((at, at + size))
                self.payload += size
                at += size
                left -= size
                if at == end:
                    break
            held = self._held
            # Servers send a token as a whole chunk, so that most reads end with its newline.
            if held == NEWLINE and (line := _FIRST_LINE.match(data, at, end)) is not None:
                self._held = b""
                at = line.end()
            elif held:
                line, at = self._resume(data, at, end)
            elif (line := self._line.match(data, at, end)) is not None:
                at = line.end()
            elif end - at == 2 and self._line is _NEXT_LINE and data[at:end] == NEWLINE:
                self._held = NEWLINE
            else:
                self._hold(bytes(data[at : min(end, at + self._line_max)]))
            if line is None:
                at = end
                break
            if self._line is _TRAILERS:
                self._check_trailers(line[1])
                self._trailers = line[1]
                self.done = True
                break
            left = int(line[1], 16)
            if left:
                self.chunks += 1
                self._line = _NEXT_LINE
            else:
                self._line = _TRAILERS
                self._line_max = TRAILERS_MAX
        self.chunk_left = left
        return at

    def around(self, size: int) -> tuple[bytes, bytes]:
        r"""Return what to put before and after the payload so far, so that the rest can follow.

        Args:
            size: Of that payload, which was perhaps changed.

        >>> body = ChunkedBody()
        >>> _ = body.take(b"3\r\nab", 0, 5)
        >>> body.around(2)
        (b'3\r\n', b'')
        """
        if self._line is _FIRST_LINE:
            return b"", self._held
        size += self.chunk_left
        before = b"%x\r\n" % size if size else b""
        if self._line is _NEXT_LINE:
            return before, self._held
        return before, b"\r\n" * bool(size) + b"0\r\n" + self._held

    def _resume(self, data: Buffer, at: int, end: int) -> tuple[re.Match[bytes] | None, int]:
        """Go on with a line that has begun in an earlier buffer."""
        held = self._held
        longer = held + data[at : min(end, at + self._line_max)]
        line = self._line.match(longer)
        if line is None:
            self._hold(longer)
            return None, end
        self._held = b""
        return line, at + line.end() - len(held)

    def _check_trailers(self, raw: bytes) -> None:
        """Refuse what belongs into a head: some servers put the two together (RFC 9110, 6.5.1)."""
        for line in raw.split(b"\r\n"):
            if line.partition(b":")[0].lower() in NO_TRAILERS:
                raise BadWire("a trailer that belongs into the head")

    def _hold(self, beginning: bytes) -> None:
        if len(beginning) >= self._line_max or not self._may_begin(beginning):
            raise BadWire("chunks that are none, or larger than anything")
        self._held = beginning

    def _may_begin(self, text: bytes) -> bool:
        """Tell whether a line can begin so: what is wrong is not waited for."""
        if self._line is _TRAILERS:
            fields, newline, last = text.rpartition(b"\r\n")
            whole = _TRAILERS.fullmatch(fields + newline + b"\r\n")
            return whole is not None and _TRAILER_BEGUN.fullmatch(last) is not None
        begun = _LINE_BEGUN if self._line is _FIRST_LINE else _NEXT_LINE_BEGUN
        return begun.fullmatch(text) is not None


_SIZE_BEGUN = rb"(?:[0-9a-fA-F]{1,15}(?:;[^\x00-\x08\x0a-\x1f\x7f]*+)?\r?)?"
_LINE_BEGUN = re.compile(_SIZE_BEGUN)
_NEXT_LINE_BEGUN = re.compile(rb"\r?|\r\n" + _SIZE_BEGUN)
_TRAILER_BEGUN = re.compile(rb"(?:%s(?::[^\x00-\x08\x0a-\x1f\x7f]*+)?)?\r?" % TOKEN)


Body: TypeAlias = LengthBody | ChunkedBody | EndlessBody


def body_of(length: int) -> Body:
    """Return the body that a head with this length announces."""
    if length == CHUNKED:
        return ChunkedBody()
    return EndlessBody() if length == UNTIL_CLOSE else LengthBody(length)
