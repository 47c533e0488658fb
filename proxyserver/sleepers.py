"""Which runs sleep, kept on disk for the next life of the daemon: from outside nobody can tell."""

import json
from collections.abc import Collection
from pathlib import Path

from loguru import logger

from proxycore import RunId

from .runtime import write_atomically


class Sleepers:
    """Remembers the runs that sleep, and those that were told to turn and have not said they did.

    The order to turn is written before it is obeyed, so a life that is killed in between leaves a
    run that is known to be neither: such a one is ended, since to serve by it might hang for ever.

    Args:
        file: where; None: nowhere.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._asleep: dict[RunId, bool] = {}
        """Whether it sleeps; False: it is turning."""
        self._unknown = False

    def load(self) -> None:
        """Read what the earlier life has left; if that cannot be read, nothing is known of any."""
        if self._file is None:
            return
        try:
            told = json.loads(self._file.read_bytes())
            self._asleep = {RunId(int(run)): bool(asleep) for run, asleep in told.items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AttributeError, TypeError) as error:
            logger.warning("which services sleep cannot be read from {}: {}", self._file, error)
            self._unknown = True

    def is_asleep(self, run: RunId) -> bool | None:
        """Tell whether a run sleeps; None: it was about to change, and nobody knows."""
        if run not in self._asleep:
            return None if self._unknown else False
        return True if self._asleep[run] else None

    def turning(self, run: RunId) -> None:
        """Remember that a run is told to sleep or to wake."""
        self._set(run, asleep=False)

    def asleep(self, run: RunId) -> None:
        """Remember that a run sleeps."""
        self._set(run, asleep=True)

    def forget(self, run: RunId) -> None:
        """Remember that a run is awake, or gone."""
        if self._asleep.pop(run, None) is not None:
            self._save()

    def keep_only(self, runs: Collection[RunId]) -> None:
        """Forget all others: a number may come again once nothing of its run is left."""
        self._asleep = {run: asleep for run, asleep in self._asleep.items() if run in runs}
        self._unknown = False
        self._save()

    def _set(self, run: RunId, *, asleep: bool) -> None:
        self._asleep[run] = asleep
        self._save()

    def _save(self) -> None:
        if self._file is None:
            return
        text = json.dumps({str(run): asleep for run, asleep in self._asleep.items()})
        try:
            write_atomically(self._file, text.encode())
        except OSError as error:
            logger.warning("which services sleep cannot be kept in {}: {}", self._file, error)
