"""Readers of values, each for the files of one folder: relative paths start at that of the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import cattrs

from ._errors import Problems, Steps
from ._shapes import make_converter, structure
from ._sources import Sources


@attrs.define
class Readers:
    """Reads values by where they stand; what is wrong with them goes to `found`."""

    found: Problems
    _environ: Mapping[str, str]
    sources: Sources
    _converters: dict[Path, cattrs.Converter] = attrs.field(factory=dict, init=False)

    def base(self, at: Steps) -> Path:
        """Return the folder of the file in which a value stands."""
        return Path(self.found.marks.problem(at, "").file).absolute().parent

    def read(self, value: Any, to: Any, at: Steps, *, where: Steps | None = None) -> Any:
        """Read a value; None when it is not as it should be.

        Args:
            value: what is written.
            to: the type.
            at: its place, for what is wrong with it.
            where: a place in the file at whose folder its relative paths start; None: `at`.
        """
        base = self.base(at if where is None else where)
        if base not in self._converters:
            self._converters[base] = make_converter(base, self._environ, self.sources)
        return structure(self._converters[base], value, to, at, self.found)
