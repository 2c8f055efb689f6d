"""`python -m driver`: the same as `cellar`."""

from __future__ import annotations

import sys

from driver.cli.main import main

sys.exit(main())
