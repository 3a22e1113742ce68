"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says more about the machine's load than about the code; hangs end by pytest's time-out.
settings.register_profile("tradewind", deadline=None, print_blob=True)
settings.load_profile("tradewind")
