"""What routers and nodes agree on beside the messages."""

from __future__ import annotations

from typing import Final

# Metadata of a routed call. A router knows all nodes, a node only itself: with this, the node that
# ControllerPublishVolume names exists, even if it is not the one that has the volume.
KNOWN_NODE: Final = "cellar-known-node"
