"""A fake API server for the tests of what is asked of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.fake_apiserver import Cluster, api_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Cluster, Path]]:
    with api_server(tmp_path) as server:
        yield server
