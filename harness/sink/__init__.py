"""Delivery of the points of runs to InfluxDB: from their files, which are the truth, and never in a run's way."""
