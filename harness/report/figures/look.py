"""How a mode and a frame size look, the same in every figure and told apart without colours."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.cells import CONTROL

# Okabe and Ito's palette: told apart with any colour vision.
_MODE_COLOURS = {"statelet": "#0072B2", "duplication": "#D55E00", CONTROL: "#8a8a8a"}
_OTHER_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MODE_STYLES = {"statelet": "-", "duplication": "--", CONTROL: "-"}
_OTHER_STYLES = ("-.", ":")
_FRAME_MARKERS = {1400: "o", 512: "s"}
_OTHER_MARKERS = ("^", "D", "v", "P", "X", "*", "<", ">")
HOLLOW = frozenset({"duplication"})
"""Modes with hollow markers, beside the broken line: in grey they stay apart."""


def colour(mode: str, modes: Sequence[str]) -> str:
    return _MODE_COLOURS.get(mode) or _nth(_OTHER_COLOURS, mode, [m for m in modes if m not in _MODE_COLOURS])


def line_style(mode: str, modes: Sequence[str]) -> str:
    return _MODE_STYLES.get(mode) or _nth(_OTHER_STYLES, mode, [m for m in modes if m not in _MODE_STYLES])


def marker(frame_bytes: int, frames: Sequence[int]) -> str:
    others = [frame for frame in frames if frame not in _FRAME_MARKERS]
    return _FRAME_MARKERS.get(frame_bytes) or _nth(_OTHER_MARKERS, frame_bytes, others)


def curve(number: int) -> tuple[str, str]:
    """(line style, colour) of the curves of one panel, which are not told apart by their mode."""
    colours = (*_MODE_COLOURS.values(), *_OTHER_COLOURS)
    return ("-", "--", ":")[number // len(colours) % 3], colours[number % len(colours)]


def _nth(looks: Sequence[str], wanted: object, among: Sequence[object]) -> str:
    return looks[list(among).index(wanted) % len(looks)] if wanted in among else looks[0]
