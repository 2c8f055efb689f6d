"""Timings and call metadata that routers and nodes must agree on.

Routers and nodes of neighbouring versions communicate. So a value may only be changed if each
relation in the comments here also holds between the new value on one side and the old one on the
other.
"""

from __future__ import annotations

from typing import Final

# Metadata of a routed call. A router knows all nodes, a node only itself: with this, the node that
# ControllerPublishVolume names exists, even if it is not the one that has the volume.
KNOWN_NODE: Final = "cellar-known-node"

# Reports. A node sends one at least every REPORT_INTERVAL seconds, after having waited for its
# pools for at most REPORT_TIMEOUT, of which each pool gets POOL_REPORT_TIMEOUT. A router takes a
# node as unreachable, and a pool's free space as unknown, when the last report is older than
# REPORT_LIFETIME: that is longer than one interval, one wait, and a hiccup of the network.
REPORT_INTERVAL: Final = 2.0  # seconds, node
REPORT_TIMEOUT: Final = 1.0  # seconds, node
POOL_REPORT_TIMEOUT: Final = 0.9  # seconds, node: less than REPORT_TIMEOUT
REPORT_LIFETIME: Final = 5.0  # seconds, router: more than REPORT_INTERVAL + REPORT_TIMEOUT

# A router's calls to nodes, other than those that it forwards within the time of their caller.
NODE_TIMEOUT: Final = 5.0  # seconds, router: for a node's part of an answer that many nodes give

# Reserving a name. A node remembers for NAME_MEMORY seconds that a router had the name. A router
# that gets one which nobody had in that time relies on the names that nodes reported, if they were
# read at most NAME_SEARCH_LIFETIME seconds ago as far as it knows. A report may have been on its
# way for REPORT_LIFETIME seconds, no longer, so both together are less than NAME_MEMORY: who
# created the name before is in them.
NAME_WAIT: Final = 1.0  # seconds, node: for another router to give a name back; < NODE_TIMEOUT
NAME_MEMORY: Final = 10.0  # seconds, node
NAME_SEARCH_LIFETIME: Final = 4.0  # seconds, router: < NAME_MEMORY - REPORT_LIFETIME

# Group snapshots over several nodes. Each node bounds by itself for how long writers are stopped
# (BOUND in volumes/copies/copying.py); a router waits longer, so that the node's own error arrives.
GROUP_STEP_TIMEOUT: Final = 30.0  # seconds, router: for a node to reach its next step
GROUP_UNDO_TIMEOUT: Final = 10.0  # seconds, router: for a node to undo its part

# HTTP/2 pings of an idle connection. A node that vanished ends the calls that wait for it after
# KEEPALIVE_INTERVAL_MS + KEEPALIVE_TIMEOUT_MS. A server closes the connection of a client that
# pings more often than every KEEPALIVE_MINIMUM_MS (gRPC: too_many_pings).
KEEPALIVE_INTERVAL_MS: Final = 5000  # router
KEEPALIVE_TIMEOUT_MS: Final = 3000  # router
KEEPALIVE_MINIMUM_MS: Final = 1000  # node: less than KEEPALIVE_INTERVAL_MS
