"""Detectors: plain scalar recurrences over a small fixed state, one a file (docs/detectors.md)."""
