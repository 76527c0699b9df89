"""The `penstock` command: the only place that wires rooms together."""

__version__ = "0.1.0"
