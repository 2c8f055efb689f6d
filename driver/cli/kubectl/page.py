"""`kubectl cellar page`: shows the page of a driver in a cluster in a browser on this machine.

A pod with a container `page` (chart value `page.enabled`) serves the page already. In another pod
`kubectl exec` starts it, on the pod's loopback address, until this program ends. `kubectl
port-forward` forwards it to this machine, so that nothing listens on the pod network.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from driver.core.errors import Failed

PORT: Final = "page"  # the name of the container and of its port
LISTEN: Final = "127.0.0.1:9580"
LOCAL: Final = (
    "127.0.0.1",
    "localhost",
    "[::1]",
)  # the names by which the page lets itself be asked
START_TIMEOUT: Final = 60.0  # seconds until kubectl has started something
_END_TIMEOUT: Final = 5.0  # seconds that it has to end
_SERVING: Final = re.compile(r"http://127\.0\.0\.1:(\d+)/")
_FORWARDING: Final = re.compile(r"Forwarding from (\S+) -> \d+")
_REMOTE: Final = ("cellar", "page", "--listen", "127.0.0.1:0", "--until-eof")


async def show(kubectl: Sequence[str], pod: Any, *, container: str, listen: str) -> None:
    """Serve the web page of the driver in `pod` (`cellar page`) at `listen`, until SIGINT or
    SIGTERM cancels it.

    `kubectl`: the program, with options; `container`: the driver's container; `listen`: HOST:PORT
    on this machine. Raises: Failed if kubectl ends; asyncio.CancelledError.
    """
    if task := asyncio.current_task():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    host, _, port = listen.rpartition(":")
    name, namespace = pod["metadata"]["name"], ["--namespace", pod["metadata"]["namespace"]]
    async with AsyncExitStack() as stack:
        remote = _port(pod)
        if not remote:
            words = [*kubectl, "exec", *namespace, name, "--container", container, "--stdin"]
            served = await stack.enter_async_context(_running([*words, "--", *_REMOTE]))
            remote = int((await _line(served, _SERVING))[1])
        words = [*kubectl, "port-forward", *namespace, f"pod/{name}"]
        words += [f"--address={host.strip('[]')}", f"{port}:{remote}"]
        forward = await stack.enter_async_context(_running(words))
        address = (await _line(forward, _FORWARDING))[1]
        sys.stdout.write(f"http://{address}/ shows {name} until Ctrl-C\n")
        sys.stdout.flush()
        async for _ in _lines(forward):  # else it would wait for somebody to read
            pass
        raise Failed("kubectl port-forward has ended; if the pod is gone, run this again")


def _port(pod: Any) -> int:
    """Return the port of the pod's page, 0 if no container serves it."""
    return next(
        (
            int(port["containerPort"])
            for container in pod.get("spec", {}).get("containers", ())
            for port in container.get("ports", ())
            if port.get("name") == PORT
        ),
        0,
    )


@asynccontextmanager
async def _running(words: Sequence[str]) -> AsyncIterator[Process]:
    """Start a program whose standard input stays open, and end it afterwards.

    Ctrl-C is for this program only: `kubectl exec` ends when its standard input does, and then
    what it runs in the pod.
    """
    process = await asyncio.create_subprocess_exec(
        *words, stdin=PIPE, stdout=PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        if "exec" not in words or not await _ended(process):
            with suppress(ProcessLookupError):
                process.terminate()
            await _ended(process)


async def _ended(process: Process) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _END_TIMEOUT)
    return process.returncode is not None


async def _line(process: Process, form: re.Pattern[str]) -> re.Match[str]:
    """Return the match in the first line that has one. Raises: Failed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT):
            async for line in _lines(process):
                if match := form.search(line):
                    return match
            raise Failed("kubectl ended; is what it says above about rights, or a port in use?")
    raise Failed(f"kubectl did not answer within {START_TIMEOUT:.0f} s")


async def _lines(process: Process) -> AsyncIterator[str]:
    """Yield what a process prints until it ends."""
    while process.stdout and (line := await process.stdout.readline()):
        yield line.decode(errors="replace")
