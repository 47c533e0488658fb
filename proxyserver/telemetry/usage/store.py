"""The file of the statistics: rows are added to those that are there; days that are old go."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TypeVar

import attrs
from loguru import logger

from ._rows import BY, PEAKS, Asked, Held, Of, Told

VERSION = 1
BUSY_S = 5.0
"""How long it waits for somebody who looks into the file."""
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What is wrong with what is in the file; with all else it may be whole."""
Answer = TypeVar("Answer")
_KEYS: Mapping[type[Asked | Held], tuple[str, ...]] = {
    Asked: ("day", "service", "model", "key"),
    Held: ("day", "service"),
}
_TABLES: Mapping[type[Asked | Held], str] = {Asked: "requests", Held: "resources"}


class UsageStore:
    """Keeps the sums of days in SQLite; called from any thread, one call at a time.

    A file that is broken is put aside; one of a newer version is left alone, and nothing is kept.

    Args:
        file: where; its folder exists.
        days: how many days are kept, today included.
    """

    def __init__(self, file: Path, days: int) -> None:
        self._file = file
        self._days = days
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._swept = ""

    def open(self) -> None:
        """Open the file, which is done anyhow when it is needed.

        Raises:
            OSError: it cannot be opened.
        """
        self._do(lambda database: None)

    def add(self, today: str, rows: Mapping[Of, Asked | Held]) -> None:
        """Add to what is there, all of it or nothing, and drop what is too old.

        Raises:
            OSError: the file cannot be written.
        """
        self._do(lambda database: self._add(database, today, rows))

    def sums(self, by: str, first: str, last: str) -> list[Told]:
        """Return the sums of some days, the largest number of requests first, or day by day.

        Args:
            by: what of: one of `BY`.
            first: the first day.
            last: the last day, which counts, too.

        Raises:
            OSError: the file cannot be read.
        """
        assert by in BY, by
        found = self._do(lambda database: _sums(database, by, first, last))
        if by == "day":
            return [found[day] for day in sorted(found)]
        return sorted(found.values(), key=lambda told: (-int(told["requests"]), told[by]))

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _do(self, action: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Do something with the file, once more with an empty one if it turns out to be broken."""
        with self._lock:
            try:
                try:
                    return action(self._open())
                except sqlite3.DatabaseError as error:
                    # The lowest byte; others say more of the same.
                    if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _BROKEN:
                        raise
                    self._put_aside(error)
                return action(self._open())
            except sqlite3.Error as error:
                raise OSError(f"{self._file}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = self._opened()
        return self._database

    def _put_aside(self, error: sqlite3.DatabaseError) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        aside = self._file.with_suffix(".broken")
        logger.warning("the statistics cannot be read, and are put aside as {}: {}", aside, error)
        self._file.replace(aside)
        for beside in ("-wal", "-shm"):  # Of the other file.
            with suppress(OSError):
                self._file.with_name(self._file.name + beside).unlink()

    def _add(
        self, database: sqlite3.Connection, today: str, rows: Mapping[Of, Asked | Held]
    ) -> None:
        with database:
            for kind, statement in _ADD.items():
                database.executemany(
                    statement,
                    ((*of, *attrs.astuple(row)) for of, row in rows.items() if type(row) is kind),
                )
            if today != self._swept:
                # Who wants to keep all for ever writes a number that is larger than any day's.
                oldest = date.fromisoformat(today).toordinal() - self._days + 1
                first = date.fromordinal(max(1, oldest)).isoformat()
                for table in _TABLES.values():
                    database.execute(f"DELETE FROM {table} WHERE day < ?", (first,))
        self._swept = today  # It is so only now that it was written.

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file, timeout=BUSY_S, check_same_thread=False)
        try:
            [version] = database.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise OSError(
                    f"{self._file} is of a newer version of the proxy ({version}; this one knows"
                    f" {VERSION}): use that one, or move the file away"
                )
            # What a process has written survives its death; a power cut may take the last second.
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            with database:
                for kind in _TABLES:
                    database.execute(_create(kind))
                database.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            database.close()
            raise
        return database


def _sums(
    database: sqlite3.Connection, by: str, first: str, last: str
) -> dict[str, dict[str, str | int | float]]:
    found: dict[str, dict[str, str | int | float]] = {}
    for kind, keys in _KEYS.items():
        if by not in keys:
            continue
        names = [field.name for field in attrs.fields(kind)]
        columns = ", ".join(f"{'max' if name in PEAKS else 'sum'}({name})" for name in names)
        rows = database.execute(
            f"SELECT {by}, {columns} FROM {_TABLES[kind]} WHERE day BETWEEN ? AND ? GROUP BY {by}",
            (first, last),
        )
        for of, *values in rows:
            told = found.setdefault(of, {by: of} | _nothing(by))
            told.update(zip(names, values, strict=True))
    return found


def _create(kind: type[Asked | Held]) -> str:
    keys = _KEYS[kind]
    columns = [f"{key} TEXT NOT NULL" for key in keys]
    columns += [
        f"{field.name} {'INTEGER' if field.type is int else 'REAL'} NOT NULL"
        for field in attrs.fields(kind)
    ]
    return (
        f"CREATE TABLE IF NOT EXISTS {_TABLES[kind]}"
        f" ({', '.join(columns)}, PRIMARY KEY ({', '.join(keys)})) WITHOUT ROWID"
    )


def _add(kind: type[Asked | Held]) -> str:
    keys, names = _KEYS[kind], [field.name for field in attrs.fields(kind)]
    places = ", ".join("?" * (len(keys) + len(names)))
    sums = ", ".join(
        f"{name} = max({name}, excluded.{name})"
        if name in PEAKS
        else f"{name} = {name} + excluded.{name}"
        for name in names
    )
    return (
        f"INSERT INTO {_TABLES[kind]} VALUES ({places})"
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}"
    )


_ADD: Mapping[type[Asked | Held], str] = {kind: _add(kind) for kind in _TABLES}


def _nothing(by: str) -> dict[str, int | float]:
    kinds: Iterable[type[Asked | Held]] = (kind for kind in _KEYS if by in _KEYS[kind])
    return {
        field.name: 0 if field.type is int else 0.0
        for kind in kinds
        for field in attrs.fields(kind)
    }
