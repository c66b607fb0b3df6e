"""A file of the host with a given content; what was there before comes back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import CleanupError, HarnessError
from harness.provision.task import Change, Context, State, Task

KIND = "file"
_SUFFIX = "slim-harness"
_BLOCK_BYTES = 1 << 20


class FileContent(Task):
    """Write a file with a mode. What stands there is kept beside it, on the same file system, until the task is undone:
    an owner, links and attributes come back with it. A directory on the way is never made.
    """

    name = "write file"

    def __init__(self, node: str, path: Path, content: bytes, mode: int = 0o644) -> None:
        super().__init__(node)
        self.path = path
        self.content = content
        self.mode = mode

    def wanted(self) -> State:
        return {f"{self.path} content": digest_of(self.content), f"{self.path} mode": f"{self.mode:04o}"}

    def observe(self, context: Context) -> State:
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise HarnessError(f"file {self.path}: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise HarnessError(f"file {self.path}: is no regular file; name the file itself")
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        return {f"{self.path} content": digest_of_file(self.path), f"{self.path} mode": mode}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        token = secrets.token_hex(4)
        beside = {part: self.path.with_name(f".{self.path.name}.{token}.{part}.{_SUFFIX}") for part in ("new", "old")}
        present = self.observe(context)
        if not self.path.parent.is_dir():
            raise HarnessError(f"file {self.path}: there is no directory {self.path.parent}")
        identity = {"after": digest_of(self.content), "new": str(beside["new"]), "old": None}
        if present:
            identity["old"] = str(beside["old"])
        number = context.ownership.intend(KIND, str(self.path), identity)
        try:
            self._write(beside["new"], self.path.stat() if present else None)
            if present:
                os.link(self.path, beside["old"])
            beside["new"].replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                restore_file(str(self.path), identity)
            context.ownership.gone(number)
            raise HarnessError(f"file {self.path}: {error.strerror}") from error
        context.ownership.made(number)

    def _write(self, path: Path, like: os.stat_result | None) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.content)
            if like is not None and (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, self.mode)
            file.flush()
            os.fsync(descriptor)

    def undo(self, context: Context) -> None:
        item = context.ownership.find(KIND, str(self.path))
        if item is not None:
            restore_file(item.name, item.identity)
            context.ownership.gone(item.number)


def restore_file(name: str, identity: dict[str, Any]) -> bool:
    """Undo a recorded file: what was there comes back, and nothing where nothing was. False where there is nothing to
    undo, or the file has since become another's and nothing was kept. It may be cut off anywhere and called again.

    OSError; CleanupError, with the place of what was kept, where somebody has changed the file meanwhile.
    """
    path = Path(name)
    old, new = (_beside(path, identity.get(part)) for part in ("old", "new"))
    if new is not None:
        new.unlink(missing_ok=True)
    kept = old is not None and old.is_file()
    if kept and old is not None and path.is_file() and path.samefile(old):
        old.unlink()  # it had not come to the exchange
        return False
    is_ours = path.is_file() and not path.is_symlink() and digest_of_file(path) == identity.get("after")
    if kept and old is not None:
        if not is_ours:
            raise CleanupError(f"somebody has changed it meanwhile; what it was before is in {old}")
        old.replace(path)
        return True
    if not is_ours or old is not None:
        return False
    path.unlink()
    return True


def _beside(path: Path, recorded: object) -> Path | None:
    """A recorded name if it is one of ours in the file's own directory."""
    if not isinstance(recorded, str):
        return None
    found = Path(recorded)
    ours = found.parent == path.parent and found.name.startswith(f".{path.name}.") and found.name.endswith(_SUFFIX)
    return found if ours else None


def digest_of(content: bytes) -> str:
    """What tells one content from another: the beginning of its SHA-256, with the length."""
    return f"{hashlib.sha256(content).hexdigest()[:32]} ({len(content)} bytes)"


def digest_of_file(path: Path) -> str:
    """The same of a file's content. HarnessError where it cannot be read."""
    digest, length = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                length += len(block)
    except OSError as error:
        raise HarnessError(f"file {path}: {error.strerror}") from error
    return f"{digest.hexdigest()[:32]} ({length} bytes)"
