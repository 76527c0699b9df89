"""Holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The machine's other work is no property of the code: how long an example takes proves nothing.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")
