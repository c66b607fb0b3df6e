"""Text and JSON for the engine's events, in the manner of Ansible."""

from __future__ import annotations

import json
from collections.abc import Callable

from harness.provision.engine import RESULTS, Callback, Event, EventKind

_WIDTH = 79
Writer = Callable[[str], None]


def _heading(words: str) -> str:
    return f"{words} ".ljust(_WIDTH, "*")


def text_lines(event: Event, diff: bool = False) -> list[str]:
    """The lines of one event in the manner of Ansible; with `diff` every change has a line of its own."""
    if event.kind is EventKind.PLAY:
        return ["", _heading(f"PLAY [{event.name}]")]
    if event.kind is EventKind.TASK:
        return ["", _heading(f"TASK [{event.name}]")]
    if event.kind is EventKind.RECAP:
        lines = ["", _heading("PLAY RECAP")]
        for node, counts in event.recap.items():
            totals = "  ".join(f"{kind}={counts.get(kind, 0):<4}" for kind in RESULTS)
            lines.append(f"{node:<14}: {totals}".rstrip())
        return lines
    line = f"{event.kind}: [{event.node}]"
    if event.kind is EventKind.UNDONE:  # no heading says what
        return [f"{line} => {event.name}"]
    if event.kind in (EventKind.FAILED, EventKind.SKIPPED):
        return [f"{line} => {event.message}"]
    return [line, *(f"  {change.line()}" for change in event.changes if diff)]


def plain_lines(event: Event, diff: bool = False) -> list[str]:
    """One line for each event, without headings: for logs and pipes."""
    if event.kind in (EventKind.PLAY, EventKind.TASK):
        return []
    if event.kind is EventKind.RECAP:
        return [
            f"recap {node} {' '.join(f'{kind}={counts.get(kind, 0)}' for kind in RESULTS)}"
            for node, counts in event.recap.items()
        ]
    line = f"{event.kind} {event.node} {event.name}"
    if event.message:
        line += f": {event.message}"
    return [line, *(f"  {change.line()}" for change in event.changes if diff)]


def json_line(event: Event) -> str:
    """The event as one JSON object."""
    changes = [{"subject": c.subject, "before": str(c.before), "after": str(c.after)} for c in event.changes]
    entry: dict[str, object] = {"kind": str(event.kind), "name": event.name}
    optional = {"node": event.node, "message": event.message, "changes": changes, "duration_ns": event.duration_ns}
    entry.update({key: value for key, value in optional.items() if value})
    if event.kind is EventKind.RECAP:
        entry["recap"] = event.recap
    return json.dumps(entry)


def ansible_renderer(write: Writer, diff: bool = False) -> Callback:
    """A callback that writes the Ansible-like text line by line."""
    return _renderer(write, lambda event: text_lines(event, diff))


def plain_renderer(write: Writer, diff: bool = False) -> Callback:
    """A callback that writes one line for each event."""
    return _renderer(write, lambda event: plain_lines(event, diff))


def json_renderer(write: Writer) -> Callback:
    """A callback that writes one JSON object for each event."""
    return _renderer(write, lambda event: [json_line(event)])


def _renderer(write: Writer, lines_of: Callable[[Event], list[str]]) -> Callback:
    def render(event: Event) -> None:
        for line in lines_of(event):
            write(line)

    return render
