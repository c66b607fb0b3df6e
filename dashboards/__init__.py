"""Grafana dashboards of the points in InfluxDB: made by `python -m dashboards`, a JSON file each in `grafana`."""
