"""The five-node testbed: its description, the tasks that build it, steering and counters of its fabric."""
