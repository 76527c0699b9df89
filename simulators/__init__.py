"""Simulated devices: seeded models with labelled faults, run by the real edge agent."""
