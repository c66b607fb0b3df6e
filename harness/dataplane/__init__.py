"""The compiled packet path: wire formats, ports, rings, tables, engine, clock."""
