from __future__ import annotations

import json

from harness.provision.engine import Event, EventKind
from harness.provision.recap import ansible_renderer, json_line, plain_lines, text_lines
from harness.provision.task import ABSENT, Change

CHANGED = Event(EventKind.CHANGED, "create link", "source", changes=(Change("up0 up", ABSENT, True),), duration_ns=5)
RECAP = Event(
    EventKind.RECAP, "recap", recap={"source": {"ok": 3, "changed": 2, "skipped": 0, "failed": 0}, "fabric": {"ok": 1}}
)


def test_reads_like_ansible() -> None:
    assert text_lines(Event(EventKind.PLAY, "testbed"))[1].startswith("PLAY [testbed] ***")
    assert text_lines(Event(EventKind.TASK, "create link"))[1].startswith("TASK [create link] ***")
    assert text_lines(CHANGED) == ["changed: [source]"]
    assert text_lines(Event(EventKind.FAILED, "x", "fabric", "no")) == ["failed: [fabric] => no"]
    assert text_lines(Event(EventKind.UNDONE, "create link", "source")) == ["undone: [source] => create link"]
    _, heading, source, fabric = text_lines(RECAP)
    assert heading.startswith("PLAY RECAP ***")
    assert source.split() == ["source", ":", "ok=3", "changed=2", "skipped=0", "failed=0"]
    assert fabric.split() == ["fabric", ":", "ok=1", "changed=0", "skipped=0", "failed=0"]


def test_diff_adds_a_line_for_each_change() -> None:
    assert text_lines(CHANGED, diff=True) == ["changed: [source]", "  up0 up: absent -> True"]


def test_plain_lines_carry_node_and_task_without_headings() -> None:
    assert plain_lines(Event(EventKind.TASK, "create link")) == []
    assert plain_lines(CHANGED) == ["changed source create link"]
    assert plain_lines(RECAP)[0] == "recap source ok=3 changed=2 skipped=0 failed=0"


def test_json_holds_every_part_of_an_event() -> None:
    assert json.loads(json_line(CHANGED)) == {
        "kind": "changed",
        "name": "create link",
        "node": "source",
        "changes": [{"subject": "up0 up", "before": "absent", "after": "True"}],
        "duration_ns": 5,
    }
    assert json.loads(json_line(RECAP))["recap"]["fabric"] == {"ok": 1}


def test_a_renderer_writes_line_by_line() -> None:
    written: list[str] = []
    ansible_renderer(written.append)(RECAP)
    assert written == text_lines(RECAP)
