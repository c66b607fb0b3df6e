"""Many seeded schedules of faults on one standing testbed, every promise checked after each."""
