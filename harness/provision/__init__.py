"""Provisioning: declarative, idempotent tasks carried out over a connection, undone in reverse."""
