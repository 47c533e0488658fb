"""What a configuration is made of: the files that were read for it, and how they were then.

Files are compared by what the kernel says of them, symbolic links followed: an editor that puts
another file in the place of the old one, and a ConfigMap that turns a link to another folder, are
seen as well as a write.  Reading comes after looking, so a change between the two is seen later.
"""

import glob
from pathlib import Path
from typing import TypeAlias

import attrs

Stamp: TypeAlias = tuple[int, int, int, int] | None
"""Device, inode, size and time of change of a file; None: it is not there, or cannot be seen."""
Look: TypeAlias = tuple[tuple[Stamp, ...], tuple[tuple[str, ...], ...]]


def stamp_of(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@attrs.define(eq=False)
class Sources:
    """The files that were read, and the patterns that were looked for; it grows while reading."""

    files: dict[Path, Stamp] = attrs.field(factory=dict)
    patterns: dict[str, tuple[str, ...]] = attrs.field(factory=dict)

    def note(self, path: Path) -> Path:
        """Take note of a file that is about to be read, there or not."""
        path = path.absolute()
        self.files.setdefault(path, stamp_of(path))
        return path

    def matches(self, pattern: str) -> tuple[str, ...]:
        """Return the files of a pattern, and take note of them; hidden ones are not among them."""
        found = self.patterns[pattern] = _matches(pattern)
        return found

    def again(self) -> "Sources":
        """Return the same, as it is now."""
        return Sources(
            {path: stamp_of(path) for path in self.files},
            {pattern: _matches(pattern) for pattern in self.patterns},
        )

    def then(self) -> Look:
        """Return how all was when it was read."""
        return tuple(self.files.values()), tuple(self.patterns.values())

    def now(self) -> Look:
        """Look at the same again."""
        return tuple(map(stamp_of, self.files)), tuple(map(_matches, self.patterns))


def _matches(pattern: str) -> tuple[str, ...]:
    # Unlike pathlib's, this one leaves out hidden files: those of editors, and of ConfigMaps.
    found = glob.iglob(pattern)  # noqa: PTH207
    return tuple(sorted(name for name in found if Path(name).is_file()))
