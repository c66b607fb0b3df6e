"""Says what its configuration holds, then waits for the end of its input; not a test."""

from __future__ import annotations

import json
import sys

configuration = json.loads(sys.stdin.readline())
sys.stdout.write("not an event\n")
for word in configuration["say"]:
    event = {"event": word, "message": "the words of the program"} if word == "error" else {"event": word}
    sys.stdout.write(f"{json.dumps(event)}\n")
sys.stdout.flush()
if "exit" in configuration:
    sys.exit(configuration["exit"])
sys.stdin.read()
