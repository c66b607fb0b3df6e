"""VNF images: one folder each, with an image.toml and a program.py.

program.py exports `REASONS` (drop reasons by number), `table_specs(parameters)`, `configure(tables, parameters)` and
the compiled functions `announce`, `install` and `forward` with the signatures of `harness.dataplane.abi`.
"""
