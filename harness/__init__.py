"""Testbed for moving stateful network functions while real packets flow through them."""

__version__ = "0.1.0"
