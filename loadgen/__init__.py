"""Open-loop load generator and echoserver: two processes at the two ends of the VNF under test."""
