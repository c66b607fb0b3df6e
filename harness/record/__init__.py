"""What a run leaves behind: run directory, manifest, events, line protocol, summary."""
