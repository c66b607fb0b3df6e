"""Faults of a run: schedules, what carries them out, what happened, and which promises were kept all the same."""
