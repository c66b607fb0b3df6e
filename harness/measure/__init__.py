"""Packet ledger, metrics, invariants and statistics: pure functions over what a run recorded."""
