"""Changes of a JSON object by splices, so that all else stays as it is, byte by byte.

What is read and written again comes out in other words: numbers round, keys said twice become one,
and a body of a gigabyte has to be in memory.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs


@attrs.frozen(order=True)
class Edit:
    """Bytes of a payload, and what takes their place."""

    start: int
    end: int
    new: bytes

    @property
    def growth(self) -> int:
        """By how much the payload becomes longer."""
        return len(self.new) - (self.end - self.start)


@attrs.define
class Member:
    """A key of the object, and where it stands in the payload."""

    start: int
    """Of the key."""
    after: int | None
    """Where the member before it ends; None: it is the first."""
    value: int = -1
    """Where its value begins."""
    end: int = -1
    next: int | None = None
    """Where the next member begins; None: it is the last."""


@attrs.define
class Members:
    """Where the keys of an object stand that somebody is interested in."""

    begin: int = -1
    """After the brace."""
    is_empty: bool = True
    """There are no keys at all."""
    found: dict[str, Member] = attrs.field(factory=dict)


@attrs.frozen
class Change:
    """What an object shall say; values are JSON."""

    set: Mapping[str, bytes] = attrs.field(factory=dict)
    default: Mapping[str, bytes] = attrs.field(factory=dict)
    """Where it says nothing of that key."""
    strip: Collection[str] = ()
    """What it shall not say."""

    @property
    def keys(self) -> frozenset[str]:
        """All that are named."""
        return frozenset((*self.set, *self.default, *self.strip))


def edited(piece: bytes, at: int, edits: Sequence[Edit]) -> bytes:
    """Return what stands for the piece of the payload that begins at this place.

    >>> edits = [Edit(1, 1, b"?"), Edit(2, 4, b"")]
    >>> edited(b"abcdef", 0, edits), edited(b"ab", 0, edits) + edited(b"cdef", 2, edits)
    (b'a?bef', b'a?bef')
    """
    out = []
    done = 0
    for edit in edits:
        start, end = edit.start - at, edit.end - at
        if start >= len(piece):
            break
        out.append(piece[done : max(start, done)])
        if start >= 0:
            out.append(edit.new)
        done = max(done, min(end, len(piece)))
    out.append(piece[done:])
    return b"".join(out)


def changes(members: Members, change: Change) -> list[Edit]:
    """Return the edits that make an object say what is wanted.

    Args:
        members: where its keys stand, among them all that the change names.
        change: what is wanted.
    """
    found = members.found
    edits = [
        Edit(found[key].value, found[key].end, new)
        for key, new in change.set.items()
        if key in found
    ]
    added = {**change.default, **change.set}
    new = b", ".join(
        b"%s: %s" % (json.dumps(key).encode(), value)
        for key, value in added.items()
        if key not in found
    )
    is_empty = members.is_empty
    for run in _runs(sorted((found[key] for key in change.strip if key in found), key=_start_of)):
        first, last = run[0], run[-1]
        if last.next is not None:
            edits.append(Edit(first.start, last.next, b""))
        elif first.after is not None:
            edits.append(Edit(first.after, last.end, b""))
        else:
            edits.append(Edit(first.start, last.end, b""))
            is_empty = True
    if new:
        edits.append(Edit(members.begin, members.begin, new if is_empty else new + b", "))
    return sorted(edits)


def _start_of(member: Member) -> int:
    return member.start


def _runs(members: Iterable[Member]) -> list[list[Member]]:
    """Group those that follow each other."""
    runs: list[list[Member]] = []
    for member in members:
        if runs and runs[-1][-1].next == member.start:
            runs[-1].append(member)
        else:
            runs.append([member])
    return runs
