"""The folder of a run on another host: what is put there, what is made there, and what may be read of it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, ProtocolError, UsageError
from harness.provision.scratch import scratch_directory

CHUNK_BYTES = 4 << 20
"""Of a file, in one message."""
PAGE_BYTES_MAX = 1 << 20
GIVEN = "given"
"""What was put there, in the run's folder. It is not brought back."""
_LOGS = "logs"


class RunFolder:
    """Nothing is there before `open`; `close` removes all of it. Paths that are asked for must be in it: UsageError."""

    def __init__(self) -> None:
        self._scratch = contextlib.ExitStack()
        self._root: Path | None = None
        self._folder: Path | None = None

    @property
    def calls(self) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """By name, as the controller's side uses them (harness.remote.site)."""
        return {
            "read": self.read,
            "store": self.store,
            "files": self.files,
            "fetch": self.fetch,
            "close_folder": self.close_folder,
        }

    def open(self, folder: str) -> Path:
        """Make the folder of that name anew."""
        if self._root is None:
            self._root = self._scratch.enter_context(scratch_directory("run"))
        made = self._inside(folder)
        shutil.rmtree(made, ignore_errors=True)
        (made / _LOGS).mkdir(parents=True)
        self._folder = made
        return made

    def log(self, title: str) -> Path:
        """Where a process of that title writes its log. HarnessError without a folder."""
        if self._folder is None:
            raise HarnessError("no folder of a run is here")
        return self._folder / _LOGS / f"{title}.log"

    def close(self) -> None:
        """Remove everything. Doing it twice is no error."""
        self._root = self._folder = None
        self._scratch.close()

    def read(self, pages: list[list[Any]]) -> dict[str, Any]:
        """The first so many bytes of each file, in base64, all of about one moment."""
        contents = []
        for path, size in pages:
            with self._inside(path).open("rb") as file:
                contents.append(base64.b64encode(file.read(min(int(size), PAGE_BYTES_MAX))).decode())
        return {"pages": contents}

    def store(self, path: str, offset: int, content: str) -> dict[str, Any]:
        """Write a piece of a file that is given to the run, in base64; the first makes the file anew."""
        where = self._inside(path)
        if self._folder is None or where.parent != self._folder.resolve() / GIVEN:
            raise UsageError(f"{path!r:.200}: not in {GIVEN!r} of the run's folder")
        try:
            piece = base64.b64decode(content, validate=True)
        except (TypeError, binascii.Error):
            raise ProtocolError("store: content is no base64") from None
        where.parent.mkdir(exist_ok=True)
        with where.open("r+b" if offset else "wb") as file:
            file.seek(max(0, int(offset)))
            file.write(piece)
        return {}

    def files(self, folder: str) -> dict[str, Any]:
        """Sizes of all files that were made in a run's folder, by their path in it."""
        where = self._inside(folder)
        found = sorted(path for path in where.rglob("*") if path.is_file() and not path.is_symlink())
        made = [path.relative_to(where) for path in found if path.parent != where / GIVEN]
        return {"files": {path.as_posix(): (where / path).stat().st_size for path in made}}

    def fetch(self, path: str, offset: int) -> dict[str, Any]:
        """At most CHUNK_BYTES of a file, in base64."""
        with self._inside(path).open("rb") as file:
            file.seek(max(0, int(offset)))
            return {"content": base64.b64encode(file.read(CHUNK_BYTES)).decode()}

    def close_folder(self, folder: str) -> dict[str, Any]:
        """Remove a run's folder."""
        shutil.rmtree(self._inside(folder))
        return {}

    def _inside(self, path: object) -> Path:
        if self._root is None:
            raise HarnessError("no folder of a run is here")
        asked = (self._root / str(path)).resolve()
        if not asked.is_relative_to(self._root.resolve()) or asked == self._root.resolve():
            raise UsageError(f"{str(path)!r:.200}: not in the folder of a run")
        return asked
