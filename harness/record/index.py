"""An index of all runs below a results folder, in SQLite: `.index.sqlite`.

The run directories are the truth. Before each use the index is brought up to date: a directory is read again when its
time of change (ctime), or that of a run's summary.json in it, is another than when it was read. A file that is missing,
torn, of another version or no index at all is made anew; where none can be written the answer comes without one.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import UsageError
from harness.record.run_row import RunRow, read_git, read_row, unreadable
from harness.record.rundir import MANIFEST, SUMMARY
from harness.record.sweep import RUNS, SWEEP

INDEX = ".index.sqlite"
VERSION = 1
_WAIT_S = 10.0
_RUN_FOLDER = re.compile(r"[0-9]{2,}-.*")
_COLUMNS = tuple(RunRow.model_fields)
_SCHEMA = (
    "CREATE TABLE directory (path TEXT PRIMARY KEY, stamp TEXT NOT NULL)",
    f"CREATE TABLE run (directory TEXT NOT NULL, stamp TEXT NOT NULL, {', '.join(_COLUMNS)}, PRIMARY KEY (path))",
    "CREATE INDEX run_directory ON run (directory)",
)


@dataclass(frozen=True)
class _Directory:
    """An experiment's directory, or one that is none: path relative to the results, name of the sweep around it."""

    path: str
    sweep: str
    stamp: str


def read_index(results: Path) -> list[RunRow]:
    """Every run below `results`, in no particular order, the index brought up to date. UsageError for no folder."""
    if not results.is_dir():
        raise UsageError(f"{results}: not a directory; give the folder of the results")
    file = results / INDEX
    for _attempt in range(2):
        identity = _identity(file)
        try:
            return _refresh_and_read(str(file), results)
        except (sqlite3.DatabaseError, ValidationError) as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_broken(error):
                break  # locked for too long, on a file system without locks, or not to be written
            # Only the file that was found broken: another process may have made a new one meanwhile.
            if identity is not None and identity == _identity(file):
                with contextlib.suppress(OSError):
                    file.unlink()
                    file.with_name(f"{INDEX}-journal").unlink(missing_ok=True)
    return _refresh_and_read(":memory:", results)


def _is_broken(error: sqlite3.OperationalError) -> bool:
    """Whether the file is to blame ("no such table"), and not the circumstances ("database is locked")."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _refresh_and_read(database: str, results: Path) -> list[RunRow]:
    with contextlib.closing(sqlite3.connect(database, timeout=_WAIT_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # what a crash of the machine damages is made anew
        # One writer at a time; the others wait here and then find everything up to date.
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                if version or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    raise sqlite3.DatabaseError(f"index of version {version}")
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            _refresh(connection, results)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        found = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM run")
        return [RunRow.model_validate(dict(zip(_COLUMNS, values, strict=True))) for values in found]


def _refresh(connection: sqlite3.Connection, results: Path) -> None:
    known: dict[str, str] = dict(connection.execute("SELECT path, stamp FROM directory"))
    runs: dict[str, list[tuple[str, str]]] = {}
    for directory, path, stamp in connection.execute("SELECT directory, path, stamp FROM run"):
        runs.setdefault(directory, []).append((path, stamp))
    seen = set()
    for directory in _directories(results):
        seen.add(directory.path)
        rows = runs.get(directory.path, [])
        unchanged = known.get(directory.path) == directory.stamp
        if unchanged and all(_stamp(f"{results}/{path}/{SUMMARY}") == stamp for path, stamp in rows):
            continue
        _forget(connection, directory.path)
        _insert(connection, directory, _read_directory(results, directory))
    for path in known.keys() - seen:
        _forget(connection, path)


def _forget(connection: sqlite3.Connection, directory: str) -> None:
    connection.execute("DELETE FROM directory WHERE path = ?", (directory,))
    connection.execute("DELETE FROM run WHERE directory = ?", (directory,))


def _insert(connection: sqlite3.Connection, directory: _Directory, rows: Sequence[tuple[str, RunRow]]) -> None:
    connection.execute("INSERT INTO directory VALUES (?, ?)", (directory.path, directory.stamp))
    places = ", ".join("?" * (len(_COLUMNS) + 2))
    values: list[tuple[Any, ...]] = [(directory.path, stamp, *(value for _, value in row)) for stamp, row in rows]
    connection.executemany(f"INSERT INTO run VALUES ({places})", values)


def _directories(results: Path) -> Iterator[_Directory]:
    """Every directory that may be an experiment's: in the results, and in the sweeps there."""
    for name in _folders(results):
        if not (results / name / SWEEP).is_file():
            yield _Directory(name, "", _stamp(f"{results}/{name}"))
            continue
        runs = f"{name}/{RUNS}"
        for experiment in _folders(results / runs):
            yield _Directory(f"{runs}/{experiment}", name, _stamp(f"{results}/{runs}/{experiment}"))


def _folders(place: Path) -> list[str]:
    try:
        with os.scandir(place) as entries:
            return [entry.name for entry in entries if entry.name[0] != "." and entry.is_dir() and _is_text(entry.name)]
    except OSError:
        return []


def _is_text(name: str) -> bool:
    """Whether the name can be shown: no program of ours makes one that cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stamp(path: str) -> str:
    """What changes when a file is replaced or a folder gets or loses an entry; "" where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 (20,000 times a call)
    except (OSError, ValueError):
        return ""
    return f"{status.st_ctime_ns} {status.st_size} {status.st_ino}"


def _read_directory(results: Path, directory: _Directory) -> list[tuple[str, RunRow]]:
    """(stamp, row) of every run in it. One without any has a row of its own that says what it is."""
    place = results / directory.path
    names = sorted(name for name in _folders(place) if _RUN_FOLDER.fullmatch(name))
    if not names:
        return [(_stamp(f"{place}/{SUMMARY}"), unreadable(directory.path, directory.sweep, _problem(place)))]
    git = read_git(place)
    rows = []
    for name in names:
        path = f"{directory.path}/{name}"
        stamp = _stamp(f"{results}/{path}/{SUMMARY}")
        rows.append((stamp, read_row(results / path, path, directory.sweep, git)))
    return rows


def _problem(place: Path) -> str:
    if not os.access(place, os.R_OK | os.X_OK):
        return "cannot be read (Permission denied)"
    if (place / MANIFEST).is_file():
        return "no run in it: the experiment has just begun, or ended before its first run"
    return "not a directory of this program"
