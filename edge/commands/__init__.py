"""Commands that the hub may ask for: one a file, found by name in `registry`, after the contract in `command`."""
