"""Sensors: one plug-in a file, made by name in `registry`, after the contract in `sensor`."""
