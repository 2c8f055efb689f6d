"""What `serve` and `route` have in common: the event loop and the health pages."""

from __future__ import annotations

import asyncio
import socket

from driver.app import process


def test_an_event_loop_runs_on_it() -> None:
    async def story() -> str:
        loop = asyncio.get_running_loop()
        received = loop.create_future()
        loop.run_in_executor(None, loop.call_soon_threadsafe, received.set_result, "told")
        await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(sock=(ends := socket.socketpair())[0])
        with ends[1] as far:
            far.send(b"line\n")
            text = (await reader.readline()).decode().strip()
            writer.close()
        return f"{await received} {text}"

    assert process.run(story()) == "told line"
