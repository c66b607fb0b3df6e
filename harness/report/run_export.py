"""A list of runs as a file: CSV, or Parquet where pyarrow is installed. Columns are the fields of RunRow."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import MachineError
from harness.record.run_row import RunRow
from harness.record.rundir import write_atomically

_KINDS = {"str": "string", "int": "int64", "float": "float64", "bool": "bool_"}


def write_csv(path: Path, rows: Sequence[RunRow]) -> None:
    """Write or replace `path`; what was not measured is empty. MachineError when it cannot be written."""
    text = io.StringIO()
    writer = csv.DictWriter(text, tuple(RunRow.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    _write(path, text.getvalue().encode())


def write_parquet(path: Path, rows: Sequence[RunRow]) -> None:
    """Write or replace `path`; what was not measured is null. MachineError when it cannot be written, or without
    pyarrow.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MachineError(
            f"--parquet {path}: needs pyarrow; install it with pip install 'slim-harness[parquet]', or use --csv"
        ) from error
    schema: Any = pyarrow.schema([(name, getattr(pyarrow, _kind(name))()) for name in RunRow.model_fields])
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist([row.model_dump() for row in rows], schema), content)
    _write(path, content.getvalue())


def _kind(name: str) -> str:
    """Name of pyarrow's type of a field, "int | None" or "int" say."""
    annotation = RunRow.model_fields[name].annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return _KINDS[text.partition(" ")[0]]


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise MachineError(f"{path}: cannot be written ({error.strerror}); choose another file") from error
