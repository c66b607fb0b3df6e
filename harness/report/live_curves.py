"""`harness show --live`: the curves of a running experiment in the terminal, drawn again twice a second."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import UsageError
from harness.report.follow import Chart, Followed, has_ended, newest_experiment, run_under_way
from harness.report.hostile import shown

PERIOD_S = 0.5
LINE_PERIOD_S = 1.0
WAIT_S = 30.0
"""For a first run to begin where the directory has none."""
MIN_ROWS = 5
COLOURS = ("blue+", "orange+", "green+", "magenta+")
"""One for each curve that is shown of a chart."""
_HOME, _CLEAR_BELOW = "\x1b[H", "\x1b[J"
_SCREEN, _BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def follow(path: Path, write: Callable[[str], object] | None = None, wait_s: float = WAIT_S) -> Path:
    """Show an experiment (or the newest below a folder of results) until it has ended; returns its directory.

    On a terminal curves; elsewhere a line each second. UsageError where no run begins within `wait_s`.
    """
    terminal = write is None and sys.stdout.isatty()
    put = write or sys.stdout.write
    experiment = _experiment(path)
    if terminal:
        put(_SCREEN)
    try:
        _follow(experiment, put, terminal, wait_s)
    finally:
        if terminal:
            put(_BACK)
    return experiment


def _experiment(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError(f"{path}: not a directory; give an experiment's, or a folder of results")
    return path if (path / "manifest.json").exists() or run_under_way(path) is not None else newest_experiment(path)


def _follow(experiment: Path, put: Callable[[str], object], terminal: bool, wait_s: float) -> None:
    followed: Followed | None = None
    gives_up_s = time.monotonic() + wait_s
    last_line_s, last_phase = 0.0, ""
    while True:
        ended = has_ended(experiment)  # before reading: what is written up to here is read below
        folder = run_under_way(experiment)
        if folder is None:
            if ended or time.monotonic() > gives_up_s:
                raise UsageError(f"{experiment}: no run has begun here")
        elif followed is None or followed.folder != folder:
            followed = Followed(folder)
        if followed is not None:
            while followed.read():
                pass
            now_s = time.monotonic()
            if terminal:
                put(_screen(followed))
                sys.stdout.flush()
            elif ended or now_s - last_line_s >= LINE_PERIOD_S or followed.phase != last_phase:
                put(line(followed) + "\n")
                last_line_s, last_phase = now_s, followed.phase
        if ended:
            return
        time.sleep(PERIOD_S)


def line(followed: Followed) -> str:
    """The newest values in one line."""
    figures = (
        ("sent", "rate", "sent", "Mbit/s"),
        ("received", "rate", "received", "Mbit/s"),
        ("lost", "loss", "lost", "packets"),
        ("RTT mean", "rtt", "mean", "ms"),
        ("RTT max", "rtt", "largest", "ms"),
    )
    values = [
        f"{name} {value:.4g} {unit}"
        for name, chart, curve, unit in figures
        if (value := followed.last(chart, curve)) is not None
    ]
    return "  ".join([f"[{shown(followed.folder.name, 40)}] {shown(followed.phase, 40):<28}", *values]).rstrip()


def _screen(followed: Followed) -> str:
    columns, rows = shutil.get_terminal_size((100, 40))
    charts = [chart for chart in followed.charts() if chart.curves]
    height = max((rows - 2) // max(len(charts), 1), MIN_ROWS)
    head = line(followed)[: columns - 1]
    pictures = [draw(chart, columns - 1, height) for chart in charts[: max((rows - 2) // height, 1)]]
    text = "\n".join([head, *pictures])
    return _HOME + "\x1b[K\n".join(text.splitlines()) + _CLEAR_BELOW


def draw(chart: Chart, columns: int, rows: int) -> str:
    """A chart as text of at most `rows` lines."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)
    plotext.plotsize(columns, rows)
    for colour, (name, curve) in zip(COLOURS, chart.curves.items(), strict=False):
        plotext.plot(
            [x for x, _ in curve], [y for _, y in curve], label=shown(name, 30), marker="braille", color=colour
        )
    if chart.rule is not None:
        plotext.hline(chart.rule)
    plotext.title(f"{chart.title} [{chart.unit}]")
    text: str = plotext.build()
    return "\n".join(text.splitlines()[:rows])
