"""A node of a later version than its router: it has fields that nobody here knows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.tls import identity as tls

LATER = b"\xc2\x3e\x05later"  # field 1000, of bytes: in no version of CSI or of ours
POOL = "0123456789ab"
VOLUME = f"{POOL}-{1:032x}"
GIB = 1 << 30


class Newer(grpc.GenericRpcHandler):
    """`asked`: the last request of each method, as it came; `call_ended`: a stream has ended."""

    def __init__(self, name: str) -> None:
        self.call_ended = threading.Event()
        self.stop: Callable[[], object] = object  # set when it is served
        self.asked: dict[str, bytes] = {}
        pool = cellar.Pool(name="p", id=POOL, allocation="thick")
        pool.available_space.add(allocation="thick", largest=GIB, smallest=4096)
        self._report = cellar.Report(node=name, pools=[pool]).SerializeToString() + LATER

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method.rpartition("/")[2]
        if method == "Watch":
            return grpc.unary_stream_rpc_method_handler(self._watch)
        if method == "GetMetadataDelta":
            return None
        if method == "GetMetadataAllocated":
            return grpc.unary_stream_rpc_method_handler(self._stream)
        answer = ANSWERS[method]

        def call(request: bytes, _context: grpc.ServicerContext) -> bytes:
            self.asked[method] = request
            return answer

        return grpc.unary_unary_rpc_method_handler(call)

    def _stream(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """With an offset it does not end by itself."""
        self.asked["GetMetadataAllocated"] = request
        yield from STREAM
        if csi.GetMetadataAllocatedRequest.FromString(request).starting_offset:
            context.add_callback(self.call_ended.set)
            self.call_ended.wait(60)

    def _watch(self, _request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        gone = threading.Event()
        context.add_callback(gone.set)
        while not gone.is_set():
            yield self._report
            gone.wait(1)


def _entry() -> bytes:
    """Of a list: a volume with a field of its own."""
    volume = csi.Volume(volume_id=VOLUME).SerializeToString() + LATER
    inner = b"\x0a" + bytes([len(volume)]) + volume  # Entry.volume is field 1
    return b"\x0a" + bytes([len(inner)]) + inner  # ListVolumesResponse.entries is field 1


_VOLUME = csi.Volume(volume_id=VOLUME, capacity_bytes=GIB)
ANSWERS = {
    "ControllerGetVolume": csi.ControllerGetVolumeResponse(volume=_VOLUME).SerializeToString()
    + LATER,
    "CreateVolume": csi.CreateVolumeResponse(volume=_VOLUME).SerializeToString() + LATER,
    "ControllerExpandVolume": csi.ControllerExpandVolumeResponse(
        capacity_bytes=GIB
    ).SerializeToString()
    + LATER,
    "ListVolumes": _entry(),
    "DeleteVolume": LATER,
}
STREAM = [
    csi.GetMetadataAllocatedResponse(volume_capacity_bytes=number).SerializeToString() + LATER
    for number in (1, 2)
]


@contextmanager
def newer(name: str, folder: Path) -> Iterator[tuple[Newer, int]]:
    """The node, and its port."""
    identity = tls.Files(folder).identity
    pair = [(identity.key, identity.certificate)]
    credentials = grpc.ssl_server_credentials(pair, identity.ca, require_client_auth=True)
    node = Newer(name)
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, handlers=[node])
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        node.stop = lambda: server.stop(None).wait()
        try:
            yield node, port
        finally:
            server.stop(None).wait()
