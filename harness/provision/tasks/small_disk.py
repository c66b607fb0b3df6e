"""A file system of limited size for one folder, so that a disk can be full without anybody else noticing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.provision import kernel
from harness.provision.task import Change, Context, State, Task

KIND = "mount"


class SmallDisk(Task):
    """Mount a file system in memory on an existing, empty folder. Undone, its content is in the folder itself."""

    name = "mount a small disk"

    def __init__(self, node: str, path: Path, size_bytes: int) -> None:
        super().__init__(node)
        self.path = path.resolve()
        self.size_bytes = size_bytes

    def wanted(self) -> State:
        return {str(self.path): "mounted"}

    def observe(self, context: Context) -> State:
        return {str(self.path): "mounted" if self.path.is_mount() else "not mounted"}

    def apply(self, context: Context, changes: Sequence[Change]) -> None:
        number = context.ownership.intend(KIND, str(self.path))
        kernel.mount_memory(self.path, self.size_bytes)
        context.ownership.made(number, {"device": self.path.stat().st_dev})

    def undo(self, context: Context) -> None:
        item = context.ownership.find(KIND, str(self.path))
        if item is not None:
            unmount_keeping(self.path, item.identity.get("device"))
            context.ownership.gone(item.number)


def unmount_keeping(path: Path, device: object) -> bool:
    """Unmount what is mounted on `path` if it is the file system `device`, its content then being in the folder below.

    False where something else or nothing is there. It may be interrupted at any point and called again. OSError.
    """
    beside = path.with_name(f".{path.name}.kept")
    mounted = path.is_mount() and path.stat().st_dev == device
    if mounted:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(path, beside)
        kernel.unmount(path)
    if beside.is_dir() and path.is_dir() and not path.is_mount():
        for entry in sorted(beside.iterdir()):
            entry.rename(path / entry.name)
        beside.rmdir()
    return mounted
