"""The files of runs that no engine remembers: one that says what a run is, and its log."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs

from proxycore import DeviceId, Placement, RunId, ServiceId

from ._state import file_name, write_atomically


@attrs.frozen
class Record:
    """What a state file says of one run; runtimes add what they need to find it again."""

    service: ServiceId
    run: RunId
    fingerprint: str
    placement: Placement
    started_at: float


R = TypeVar("R", bound=Record)


@attrs.frozen
class RunFiles(Generic[R]):
    """All such files of one runtime, in a folder of their own."""

    folder: Path
    kind: type[R]

    def state(self, service: ServiceId, run: RunId) -> Path:
        return self.folder / f"{file_name(service)}.{run}.json"

    def log(self, service: ServiceId, run: RunId) -> Path:
        return self.folder / f"{file_name(service)}.{run}.log"

    def write(self, record: R) -> None:
        """Write what a run is.

        Raises:
            OSError: it cannot be done.
        """
        text = json.dumps(attrs.asdict(record), indent=1)
        write_atomically(self.state(record.service, record.run), text.encode())

    def read(self, service: ServiceId, run: RunId) -> R | None:
        """Return what a run is; None: it is known no more."""
        try:
            return self._parsed(self.state(service, run).read_bytes())
        except FileNotFoundError:
            return None

    def all(self) -> Iterator[R]:
        """Yield all runs whose files can be read."""
        for path in self.paths():
            with contextlib.suppress(OSError):
                if (record := self.at(path)) is not None:
                    yield record

    def paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"))

    def at(self, path: Path) -> R | None:
        """Read one file; None: it was not written by us, or by another version."""
        data = path.read_bytes()
        try:
            return self._parsed(data)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def forget(self, service: ServiceId, run: RunId) -> None:
        """Remove what is said of a run; on a disk that lets nothing go, it is one of a dead run."""
        with contextlib.suppress(OSError):
            self.state(service, run).unlink(missing_ok=True)

    def remove_old_logs(self, service: ServiceId) -> None:
        """Leave the log of the last run: it tells why this one is needed."""
        logs = self.folder.glob(f"{file_name(service)}.*.log")
        for log in sorted(logs, key=lambda path: path.stat().st_mtime)[:-1]:
            log.unlink()

    def _parsed(self, text: bytes) -> R:
        said = json.loads(text)
        amounts = said.pop("placement")["amounts"]
        values: dict[str, Any] = {
            key: tuple(one) if isinstance(one, list) else one for key, one in said.items()
        }
        placement = Placement.of((DeviceId(device), amount) for device, amount in amounts)
        return self.kind(placement=placement, **values)
