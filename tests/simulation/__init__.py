"""The whole path from sensor to store in virtual time: one seed replays one run, faults and all (see `world`)."""
