"""Stores: where rows go, one a file (docs/stores.md)."""
