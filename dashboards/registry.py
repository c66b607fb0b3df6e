"""Every dashboard and its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.comparison import comparison
from dashboards.experiment import experiment
from dashboards.sweep_history import sweep_history

FOLDER = Path(__file__).parent / "grafana"
DASHBOARDS: dict[str, Callable[[], dashboard.Dashboard]] = {
    "experiment": experiment,
    "comparison": comparison,
    "sweep_history": sweep_history,
}


def documents() -> dict[str, str]:
    """The text of every dashboard by the name of its file."""
    return {
        f"{name}.json": json.dumps(make().build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, make in DASHBOARDS.items()
    }


def write(folder: Path = FOLDER) -> None:
    """Write every file. OSError."""
    folder.mkdir(exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")
