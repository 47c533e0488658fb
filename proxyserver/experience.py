"""What the core has learnt of services, kept over restarts in a small SQLite file.

The file is written beside the path of requests: every half minute if something was learnt, and at
the end.  A life that is killed loses that much at most.
"""

import json
import math
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import trio
from loguru import logger

from proxycore import CoreView, DeviceId, Experience, ExperienceFound, Peak, ServiceId

SAVE_S = 30.0
ROWS_MAX = 1000
"""Fingerprints change with every change of a service: the oldest rows make room."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS experience (
    service TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    saved_at REAL NOT NULL,
    requests REAL NOT NULL,
    requested_at REAL NOT NULL,
    load_s REAL,
    return_gap_s REAL,
    peaks TEXT NOT NULL,
    asleep INTEGER,
    PRIMARY KEY (service, fingerprint)
)
"""


class ExperienceStore:
    """Keeps experience by service and by what it starts: another model or flag starts afresh.

    A file that cannot be read is put aside, and never keeps the daemon from its work.

    Args:
        file: where; its folder exists.
        fingerprints: a hash of what each service starts.
    """

    def __init__(self, file: Path, fingerprints: Mapping[ServiceId, str]) -> None:
        self._file = file
        self._fingerprints = fingerprints
        self._saved: dict[ServiceId, Experience] = {}

    def load(self, now: float, services: Collection[ServiceId] | None = None) -> ExperienceFound:
        """Return what earlier lives have learnt of the services as they are configured now.

        Args:
            now: the time on the core's clock.
            services: of which of them; None: of all.
        """
        wanted = {
            service: fingerprint
            for service, fingerprint in self._fingerprints.items()
            if services is None or service in services
        }
        try:
            found = self._read(now, wanted)
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            aside = self._file.with_suffix(".broken")
            logger.warning(
                "what was learnt cannot be read, and is put aside as {}: {}", aside, error
            )
            with suppress(OSError):
                self._file.replace(aside)
            found = {}
        self._saved |= found
        return ExperienceFound(tuple(found.items()))

    async def keep(self, view: Callable[[], CoreView]) -> None:
        """Save what is new every half minute, until cancelled; then once more."""
        try:
            while True:
                await trio.sleep(SAVE_S)
                await self.save(view())
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SAVE_S):
                await self.save(view())

    async def save(self, view: CoreView) -> None:
        """Save what is new; a file that cannot be written is told of, and tried again later."""
        news = {
            one.id: one.experience
            for one in view.services
            if one.id in self._fingerprints
            and one.experience != self._saved.get(one.id, Experience())
        }
        if not news:
            return
        # The origin of the core's clock means nothing in the next life.
        rows: list[tuple[object, ...]] = [
            (
                service,
                self._fingerprints[service],
                time.time(),
                one.requests,
                time.time() - (trio.current_time() - one.as_of),
                one.load_s,
                one.return_gap_s,
                json.dumps([_plain(peak) for peak in one.peaks]),
                one.asleep,
            )
            for service, one in news.items()
        ]
        try:
            await trio.to_thread.run_sync(self._write, rows)
        except (sqlite3.Error, OSError) as error:
            logger.warning("what was learnt cannot be saved in {}: {}", self._file, error)
        else:
            self._saved |= news

    def _read(self, now: float, wanted: Mapping[ServiceId, str]) -> dict[ServiceId, Experience]:
        found: dict[ServiceId, Experience] = {}
        with closing(self._open()) as database:
            for service, fingerprint in wanted.items():
                row = database.execute(
                    "SELECT requests, requested_at, load_s, return_gap_s, peaks, asleep"
                    " FROM experience WHERE service = ? AND fingerprint = ?",
                    (service, fingerprint),
                ).fetchone()
                if row is not None:
                    requests, requested_at, load_s, return_gap_s, peaks, asleep = row
                    found[service] = Experience(
                        _number(requests),
                        now - max(0.0, time.time() - _number(requested_at)),
                        None if load_s is None else _number(load_s),
                        None if return_gap_s is None else _number(return_gap_s),
                        tuple(_peak(peak) for peak in json.loads(peaks)),
                        None if asleep is None else _bytes(asleep),
                    )
        return found

    def _write(self, rows: list[tuple[object, ...]]) -> None:
        with closing(self._open()) as database, database:
            database.executemany(
                "INSERT OR REPLACE INTO experience VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            database.execute(
                "DELETE FROM experience WHERE rowid NOT IN"
                " (SELECT rowid FROM experience ORDER BY saved_at DESC LIMIT ?)",
                (ROWS_MAX,),
            )

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file)
        database.execute(_SCHEMA)
        with suppress(sqlite3.OperationalError):  # It has the column already.
            database.execute("ALTER TABLE experience ADD COLUMN asleep INTEGER")
        return database


def _plain(peak: Peak) -> dict[str, Any]:
    return {"declared": peak.declared, "amounts": peak.amounts}


def _peak(plain: dict[str, Any]) -> Peak:
    return Peak(
        tuple(_bytes(amount) for amount in plain["declared"]),
        tuple((DeviceId(str(device)), _bytes(amount)) for device, amount in plain["amounts"]),
    )


def _bytes(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no number of bytes")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is no figure")
    return float(value)
