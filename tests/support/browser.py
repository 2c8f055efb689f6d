"""Debian's Chromium, driven over its DevTools protocol: pages as a person has them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

from tools.programs import BROWSERS

PROGRAM: Final = next(filter(None, map(shutil.which, BROWSERS)), "")
TIMEOUT: Final = 60.0  # seconds until something is there: a busy machine
FLAGS: Final = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--remote-debugging-port=0"),
)


class Page:
    """A page in a browser, whose first process has the number `browser`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, browser: int) -> None:
        self._socket = socket
        self.browser = browser
        self._last = 0
        self.messages: list[str] = []  # what the console says: errors, refused by the policy

    async def send(self, method: str, **parameters: Any) -> Any:
        """Call the browser, and return its answer."""
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": parameters})
        while True:
            message = json.loads((await self._socket.receive(TIMEOUT)).data)
            self._note(message)
            if message.get("id") == self._last:
                assert "error" not in message, message
                return message["result"]

    async def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        await self.send("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression is true in the page, and return its value."""
        end = time.monotonic() + TIMEOUT
        while not (value := await self.run(script)):
            assert time.monotonic() < end, f"never true: {script}\n{self.messages}"
            await asyncio.sleep(0.05)
        return value

    async def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements that a CSS selector matches."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return list(await self.run(f"{found}.map(e => e.innerText.trim())"))

    async def click(self, selector: str) -> None:
        await self.until(f"document.querySelector({json.dumps(selector)}) !== null")
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def type(self, selector: str, text: str) -> None:
        await self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.send("Input.insertText", text=text)

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key: its name, its code in Windows, and what it types."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    async def emulate(self, **features: str) -> None:
        """Let media queries see these features: prefers_color_scheme="dark"."""
        named = [{"name": key.replace("_", "-"), "value": value} for key, value in features.items()]
        await self.send("Emulation.setEmulatedMedia", features=named)

    async def resize(self, width: int, height: int) -> None:
        """Give the page a window of this many pixels."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def shoot(self, path: Path, width: int = 1440, height: int = 1000) -> None:
        """Write a screenshot."""
        await self.resize(width, height)
        await asyncio.sleep(0.3)
        answer = await self.send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    def _note(self, message: Mapping[str, Any]) -> None:
        if message.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
            self.messages.append(json.dumps(message["params"]))


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """Start a browser with an empty page, and end it."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with aiohttp.ClientSession() as session:
                port = await _port(Path(profile))
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = [each for each in await answer.json() if each["type"] == "page"]
                address = pages[0]["webSocketDebuggerUrl"]
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    yield Page(socket, process.pid)
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the browser with all its processes, so that nobody writes to its profile any more."""
    for end in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, end)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.05)


async def _port(profile: Path) -> int:
    """Return the port that the browser chose, once it has."""
    file, end = profile / "DevToolsActivePort", time.monotonic() + TIMEOUT
    while not (file.exists() and len(lines := file.read_text().splitlines()) == 2):
        assert time.monotonic() < end, "the browser did not start"
        await asyncio.sleep(0.05)
    return int(lines[0])
