"""Wire formats: one file per protocol with named field offsets, compiled readers and writers (all big endian).

Readers and writers index without checking: a caller checks the frame's length once (`ipv4.check`, `arp.check`) before.
Offsets count from the start of the Ethernet frame; there is no VLAN tag and, past `ipv4.check`, no IPv4 option.
"""
