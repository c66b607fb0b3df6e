"""First process of the guest: make the machine that the tests need, carry out its orders, halt. Standard library only.

Called as `init.py DIRECTORY` by the guest's kernel (see boot.py). DIRECTORY is the one place on the host that the guest
writes to: `orders.json` lies there, and what comes of every command is left beside it.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

_SYS_FINIT_MODULE = 313  # x86_64
_POWER_OFF = 0x4321FEDC
_MS_RDONLY = 1
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def mount(kind: str, place: str, options: str = "", flags: int = 0) -> None:
    """Make the place if it is not there and mount on it; OSError when the kernel refuses."""
    Path(place).mkdir(parents=True, exist_ok=True)
    if _libc.mount(kind.encode(), place.encode(), kind.encode(), flags, options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind} on {place}: {os.strerror(number)}")


def load_modules(wanted: list[str], folder: Path) -> None:
    """Load modules of the guest's kernel, each after those it needs. OSError; KeyError for one that is not there."""
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[Path(path).stem.replace("-", "_")] = (*reversed(others.split()), path)
    for path in dict.fromkeys(path for name in wanted for path in needs[name]):
        with (folder / path).open("rb") as file:
            if _libc.syscall(_SYS_FINIT_MODULE, file.fileno(), b"", 0) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"module {path}: {os.strerror(number)}")


def prepare(orders: dict[str, Any], directory: str) -> dict[str, str]:
    """Mounts and modules; returns the environment of every command."""
    for place in orders["covered"]:
        mount("tmpfs", place, "mode=1777")
    for place in orders["kept"]:  # the checkout may lie below what is covered
        mount("hostfs", place, place, _MS_RDONLY)
    mount("hostfs", orders["out"], directory)
    load_modules(orders["modules"], Path(orders["modules_directory"]) / os.uname().release)
    scratch = Path(orders["scratch"])
    for name in ("home", "tmp", "state"):
        (scratch / name).mkdir(parents=True)
    # Of compiled code and bytecode each process leaves more to the next; all of it is lost with the guest.
    for number, place in enumerate(orders["overlaid"]):
        upper, work = scratch / f"upper{number}", scratch / f"work{number}"
        upper.mkdir()
        work.mkdir()
        mount("overlay", place, f"lowerdir={place},upperdir={upper},workdir={work}")
    return {
        "HOME": str(scratch / "home"),
        "TMPDIR": str(scratch / "tmp"),
        "SLIM_HARNESS_STATE": str(scratch / "state"),
        "PYTHONUNBUFFERED": "1",
        **orders["environment"],
    }


def carry_out(directory: str) -> None:
    """Run every command to its end, one after the other, and say in `status.json` what became of those that ended."""
    orders = json.loads(Path(directory, "orders.json").read_text())
    environment = prepare(orders, directory)
    out = Path(orders["out"])
    ended = []
    for number, command in enumerate(orders["commands"]):
        started = time.monotonic()
        with (out / f"{number}.out").open("wb") as output:
            status = subprocess.run(
                command,
                cwd=orders["directory"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        ended.append({"exit_status": status, "seconds": time.monotonic() - started})
        (out / "status.json").write_text(json.dumps(ended))


def main() -> None:
    try:
        mount("proc", "/proc")
        mount("sysfs", "/sys")
        carry_out(sys.argv[1])
    except BaseException:  # whatever it is, the guest must halt and its console say why
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        _libc.sync()
        _libc.reboot(_POWER_OFF)


if __name__ == "__main__":
    main()
