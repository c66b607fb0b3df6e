"""Network address and port translation (NAPT) for TCP, UDP and ICMP echo."""
