"""A picture of each dashboard without Grafana: python -m dashboards.preview --help.

The panels of the generated dashboards are filled with what a server answers to their queries, drawn by a charting
library and photographed in headless Chromium. It shows what the queries return and how the panels lie; Grafana's own
look, legends and tooltips are different.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboards.interpolation import NS_PER_MS, Query, Range, interpolated, panel_queries
from dashboards.preview_page import PIXELS_PER_ROW, WIDTH_PIXELS, Answer, page, rows_of
from dashboards.registry import FOLDER

ANSWER_S = 60.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MARGIN_NS = 200_000_000
Ask = Callable[[str], list[dict[str, Any]]]
"""Series of the answer to one InfluxQL statement."""


def asking(url: str, database: str) -> Ask:
    """Queries one database of InfluxDB. OSError where the server cannot be reached, ValueError where it refuses."""

    def ask(text: str) -> list[dict[str, Any]]:
        arguments = urllib.parse.urlencode({"db": database, "epoch": "ns", "q": text})
        with urllib.request.urlopen(f"{url}/query?{arguments}", timeout=ANSWER_S) as answer:
            result = json.load(answer)["results"][0]
        if "error" in result:
            raise ValueError(f"{text}: {result['error']}")
        series: list[dict[str, Any]] = result.get("series", [])
        return series

    return ask


def time_range(ask: Ask, runs: Sequence[str] | None) -> Range:
    """From the first to the last point of the chosen runs. ValueError where there is none."""
    chosen = "" if runs is None else f' WHERE "run_id" =~ /^({"|".join(runs)})$/'
    times_ns = []
    for measurement in ("run_summary", "event"):
        for name in ("first", "last"):
            order = "" if name == "first" else " ORDER BY time DESC"
            found = ask(f'SELECT * FROM "{measurement}"{chosen}{order} LIMIT 1')
            times_ns += [row[0] for series in found for row in series["values"]]
    if not times_ns:
        raise ValueError("the database has no points of these runs")
    return Range((min(times_ns) - MARGIN_NS) // NS_PER_MS, (max(times_ns) + MARGIN_NS) // NS_PER_MS + 1)


def answers(panel: Mapping[str, Any], ask: Ask, chosen: Mapping[str, Sequence[str] | None], shown: Range) -> Answer:
    """What the server has for one panel."""

    def of(query: Query) -> list[dict[str, Any]]:
        return ask(interpolated(query, chosen, shown))

    return [(query.alias, series) for query in panel_queries(panel) for series in of(query)]


def photograph(document: Path, picture: Path, height_pixels: int) -> None:
    """Write a page as PNG. OSError or CalledProcessError where no browser does."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise FileNotFoundError(f"no browser found ({', '.join(BROWSERS)}); the HTML page is {document}")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    with tempfile.TemporaryDirectory(prefix="slim-harness-browser-") as profile:
        command = [
            browser,
            *flags.split(),
            "--disable-component-update",
            "--hide-scrollbars",
            "--virtual-time-budget=20000",
            f"--user-data-dir={profile}",
            f"--window-size={WIDTH_PIXELS},{height_pixels}",
            f"--screenshot={picture}",
            document.resolve().as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def preview(name: str, ask: Ask, runs: Sequence[str] | None, folder: Path) -> Path:
    """Write NAME.html and NAME.png of one dashboard; returns the picture's path. Errors as above."""
    dashboard = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    chosen = {"profile": None, "mode": None, "run": runs}
    shown = time_range(ask, runs)
    panels = [(panel, answers(panel, ask, chosen, shown)) for panel in dashboard["panels"]]
    folder.mkdir(parents=True, exist_ok=True)
    document, picture = folder / f"{name}.html", folder / f"{name}.png"
    document.write_text(page(dashboard["title"], panels), encoding="utf-8")
    photograph(document, picture, rows_of(dashboard["panels"]) * PIXELS_PER_ROW + 60)
    return picture


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 with one line of what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.preview", description=__doc__.splitlines()[0])
    parser.add_argument("dashboard", choices=sorted(path.stem for path in FOLDER.glob("*.json")))
    parser.add_argument("--url", default="http://127.0.0.1:8086", help="server with an InfluxQL endpoint")
    parser.add_argument("--bucket", default="harness", help="bucket or database")
    parser.add_argument("--run", action="append", help="run_id to show; can be repeated [default: all]")
    parser.add_argument("--output", type=Path, default=Path("preview"), help="folder to write into")
    given = parser.parse_args(arguments)
    try:
        picture = preview(given.dashboard, asking(given.url, given.bucket), given.run, given.output)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"preview: {error}\n")
        return 1
    sys.stdout.write(f"{picture}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
