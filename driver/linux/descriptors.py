"""How many files this process may have open; see getrlimit(2), RLIMIT_NOFILE."""

from __future__ import annotations

import resource
from typing import Final

# Beyond it nothing is gained, and a child that closes all that it may have inherited would be slow.
MOST: Final = 1 << 16


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one, at most to MOST; never lower it.

    Returns the limit that is in effect now. Many service managers set 1024, which connections
    of strangers could use up. Raises: OSError.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(soft, MOST if hard == resource.RLIM_INFINITY else min(hard, MOST))
    if soft in {resource.RLIM_INFINITY, limit}:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
