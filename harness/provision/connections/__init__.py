"""Ways to reach a host: the interface and the local one."""
