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
    """The text of every dashboard by the name of its file; panels are numbered from 1 in their order."""
    texts = {}
    for name, make in DASHBOARDS.items():
        made = make().build()
        for number, panel in enumerate(made.panels or (), 1):
            panel.id_val = number
        text = json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        texts[f"{name}.json"] = f"{text}\n"
    return texts


def write(folder: Path = FOLDER) -> None:
    """Write every file. OSError."""
    folder.mkdir(exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")
