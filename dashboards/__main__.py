"""Write the dashboards: python -m dashboards."""

from __future__ import annotations

from dashboards.registry import write

write()
