"""A kubelet as far as drivers see one: it finds the socket, asks, and says what came of it."""

from __future__ import annotations

from pathlib import Path

import grpc

from csi_proto import csi_pb2 as csi
from csi_proto import csi_pb2_grpc
from csi_proto import pluginregistration_pb2 as plugin
from csi_proto import pluginregistration_pb2_grpc as plugin_grpc

GET_INFO = 1.0  # seconds that kubelet waits (plugin manager, dial and GetInfo)
NAME = "cellar.csi.internal"


class Kubelet:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "plugins_registry" / f"{NAME}-reg.sock"
        self.socket.parent.mkdir(parents=True, exist_ok=True)

    def info(self) -> plugin.PluginInfo:
        with self._channel(self.socket) as channel:
            stub = plugin_grpc.RegistrationStub(channel)
            return stub.GetInfo(plugin.InfoRequest(), timeout=GET_INFO)

    def tell(self, error: str = "") -> None:
        with self._channel(self.socket) as channel:
            stub = plugin_grpc.RegistrationStub(channel)
            status = plugin.RegistrationStatus(plugin_registered=not error, error=error)
            stub.NotifyRegistrationStatus(status, timeout=GET_INFO)

    def register(self) -> str:
        """As kubelet does it: ask, call the driver itself, say that it went well. The node's id."""
        info = self.info()
        with self._channel(Path(info.endpoint)) as channel:
            stub = csi_pb2_grpc.NodeStub(channel)
            node = stub.NodeGetInfo(csi.NodeGetInfoRequest(), timeout=GET_INFO)
        self.tell()
        return node.node_id

    def made(self) -> int:
        """Tells one socket from another, which may have the same inode; 0: none."""
        try:
            return self.socket.lstat().st_ctime_ns
        except FileNotFoundError:
            return 0

    @staticmethod
    def _channel(path: Path) -> grpc.Channel:
        return grpc.insecure_channel(f"unix:{path}", options=[("grpc.enable_http_proxy", 0)])
