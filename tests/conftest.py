"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A pipe of a program in Python is buffered unless the program flushes it. A test that leans on a
# developer's own setting of this waits for ever where it is not set.
os.environ.pop("PYTHONUNBUFFERED", None)

# An example that takes long on a busy machine is not a failure: no test is timed.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")
