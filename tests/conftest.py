"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# An example that takes long on a busy machine is not a failure: no test is timed.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")
