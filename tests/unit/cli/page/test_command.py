"""`cellar page` in a real browser; without one only what needs none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import typer
from aiohttp import web
from typer.testing import CliRunner

from csi_proto import inspect_pb2
from driver.cli.page import command, watcher
from driver.cli.page.server import make_app
from tests.support import axe, browser
from tests.support.browser import Page
from tests.unit.cli.page.fake_driver import FakeDriver, id_of

needs_browser = pytest.mark.skipif(
    not browser.PROGRAM, reason="no browser: `make test-page` installs it"
)
Scenario = Callable[[Page, FakeDriver], Awaitable[None]]
ESCAPE, TAB, ENTER = ("Escape", 27), ("Tab", 9), ("Enter", 13, "\r")
FOCUS = "document.activeElement"
NASTY = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "INTERVAL", 0.2)


@asynccontextmanager
async def served(driver: FakeDriver) -> AsyncIterator[str]:
    runner = web.AppRunner(make_app(driver.make, "127.0.0.1"), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def looked_at(driver: FakeDriver, scenario: Scenario) -> None:
    """Open the page in a browser; nothing it does may be refused by the policy, or fail."""

    async def run() -> None:
        async with served(driver) as url, browser.browser() as page:
            await page.open(url)
            await page.until("document.querySelectorAll('#volume-rows tr').length > 0")
            await scenario(page, driver)
            assert page.messages == []

    asyncio.run(run())


@needs_browser
@pytest.mark.slow
def test_what_changes_is_shown_without_a_reload() -> None:
    async def scenario(page: Page, driver: FakeDriver) -> None:
        assert (await page.texts("#pool-cards h3"))[0].startswith("slow")  # what is wrong first
        driver.names[id_of(7)] = "a-new-one"
        driver.abnormal[id_of(7)] = "the image is gone"
        driver.end_call("DeleteVolume", code="ABORTED", error="busy: try again")
        await page.until("document.body.innerText.includes('a-new-one')")
        await page.until("document.body.innerText.includes('busy: try again')")
        await page.click("#unhealthy")
        await page.until("document.querySelectorAll('#volume-rows tr').length === 1")
        assert "the image is gone" in (await page.texts("#volume-rows tr"))[0]
        driver.problem = "nothing answers"
        await page.until("document.querySelector('#status')?.innerText.includes('nothing answers')")

    looked_at(FakeDriver(), scenario)


@needs_browser
@pytest.mark.slow
def test_a_volume_and_a_call_open_to_all_that_is_known() -> None:
    driver = FakeDriver()
    driver.snapshot_of["0123456789ab-" + "f" * 32] = id_of(0)
    driver.end_call("CreateVolume", f'{{"volume_id": "{id_of(0)}"}}')

    async def scenario(page: Page, driver: FakeDriver) -> None:
        await page.click("#call-list summary")
        await page.until(
            "document.querySelector('#call-list pre')?.innerText.includes('volume_id')"
        )
        await page.until("document.querySelector('#tree')?.innerText.includes('snap-1')")
        await page.click("#volume-rows button")
        await page.until("document.querySelector('dialog[open]')?.innerText.includes('n1')")
        assert "CreateVolume" in (await page.texts("dialog .calls"))[0]
        await page.press(*ESCAPE)
        await page.until("document.querySelector('dialog[open]') === null")

    looked_at(driver, scenario)


@needs_browser
@pytest.mark.slow
def test_a_name_is_never_read_as_html() -> None:
    driver = FakeDriver()
    driver.names[id_of(0)] = NASTY
    driver.claims[id_of(1)] = NASTY
    driver.abnormal[id_of(0)] = NASTY
    driver.snapshot_of[NASTY] = id_of(1)
    driver.nodes = [inspect_pb2.NodeEntry(name=NASTY, problem=NASTY, pools=[NASTY])]
    driver.copies = [inspect_pb2.Copy(node=NASTY, text=NASTY, total_bytes=1)]
    driver.conditions = [
        inspect_pb2.Condition(
            node=NASTY, alert=NASTY, severity="critical", text=NASTY, volume_id=id_of(1)
        )
    ]
    driver.end_call("CreateVolume", '{"name": "<script>"}', code="INTERNAL", error=NASTY)

    async def scenario(page: Page, driver: FakeDriver) -> None:
        await page.until("document.body.innerText.includes('shop/<img src=x')")
        await page.until("document.querySelectorAll('#running li').length > 0")
        await page.click(f"[data-focus='{id_of(1)}']")
        await page.until("document.querySelector('dialog[open]')?.innerText.includes('n1')")
        assert "pwned" not in await page.run("document.title")
        assert await page.run("document.querySelectorAll('main img, body script').length") == 0

    looked_at(driver, scenario)


@needs_browser
@pytest.mark.slow
def test_ten_thousand_volumes_are_searched_and_sorted() -> None:
    driver = FakeDriver(count=10_000)

    async def scenario(page: Page, driver: FakeDriver) -> None:
        await page.until("document.querySelector('#volume-count')?.innerText === '10,000'")
        assert await page.run("document.querySelectorAll('#volume-rows tr').length") == 100
        start = time.monotonic()
        await page.type("#search", "pvc-9999")
        await page.until("document.querySelectorAll('#volume-rows tr').length === 1")
        assert time.monotonic() - start < 5  # 0.1 on a machine at ease
        assert await page.run("performance.memory.usedJSHeapSize") < 200 << 20

    looked_at(driver, scenario)


@needs_browser
@pytest.mark.slow
def test_it_is_dark_where_the_person_wants_it_dark() -> None:
    async def scenario(page: Page, driver: FakeDriver) -> None:
        ground = "getComputedStyle(document.body).backgroundColor"
        await page.emulate(prefers_color_scheme="light")
        light = await page.run(ground)
        await page.emulate(prefers_color_scheme="dark")
        assert await page.run(ground) != light

    looked_at(FakeDriver(), scenario)


@needs_browser
@pytest.mark.slow
def test_whoever_does_not_see_it_can_use_it() -> None:
    """Every control has a name, the sorted column says so, and Tab reaches the volumes."""

    async def scenario(page: Page, driver: FakeDriver) -> None:
        tree = (await page.send("Accessibility.getFullAXTree"))["nodes"]
        roles = {"button", "link", "textbox", "searchbox", "checkbox", "combobox", "image"}
        unnamed = [
            node
            for node in tree
            if not node.get("ignored")
            and node.get("role", {}).get("value") in roles
            and not node.get("name", {}).get("value")
        ]
        assert unnamed == []
        assert await page.texts("th[aria-sort=ascending]") == ["Claim"]
        await page.click("#volume-head th:nth-child(3) button")
        await page.until("document.querySelector('th[aria-sort]')?.innerText === 'Size'")

    looked_at(FakeDriver(), scenario)


@needs_browser
@pytest.mark.slow
def test_a_keyboard_is_enough_and_what_changes_does_not_take_its_place() -> None:
    async def scenario(page: Page, driver: FakeDriver) -> None:
        await page.press(*TAB)
        assert await page.run(f"{FOCUS}.className") == "skip"
        await page.press(*ENTER)
        assert await page.run("location.hash") == "#volumes"
        await _tab_to(page, "size")
        await page.press(*ENTER)
        await page.until("document.querySelector('th[aria-sort]')?.innerText === 'Size'")
        assert await page.run(f"{FOCUS}.dataset.focus") == "size"
        await _tab_to(page, id_of(1))
        driver.abnormal[id_of(1)] = "the image is gone"  # its row is another one now
        driver.names[id_of(7)] = "a-new-one"
        await page.until("document.body.innerText.includes('a-new-one')")
        await page.until("document.querySelector('#volumes')?.innerText.includes('is gone')")
        assert await page.run(f"{FOCUS}.dataset.focus") == id_of(1)
        await page.press(*ENTER)
        await page.until("document.querySelector('dialog[open]')?.innerText.includes('n1')")
        assert await page.run(f"document.querySelector('dialog').contains({FOCUS})")
        await page.press(*ESCAPE)
        await page.until("document.querySelector('dialog[open]') === null")
        assert await page.run(f"{FOCUS}.dataset.focus") == id_of(1)
        await _tab_to(page, "", f"{FOCUS}.tagName === 'SUMMARY'")
        await page.press(*ENTER)
        await page.until(
            "document.querySelector('#call-list pre')?.innerText.includes('volume_id')"
        )

    driver = FakeDriver()
    driver.end_call("CreateVolume", f'{{"volume_id": "{id_of(0)}"}}')
    looked_at(driver, scenario)


async def _tab_to(page: Page, focus: str, condition: str = "") -> None:
    """Press Tab until the element with this data-focus has the focus, or `condition` is true."""
    for _ in range(60):
        await page.press(*TAB)
        if await page.run(condition or f"{FOCUS}.dataset.focus === '{focus}'"):
            return
    raise AssertionError(f"Tab never reaches {focus or condition}")


@needs_browser
@pytest.mark.slow
def test_alerts_and_copies_are_shown_while_they_last() -> None:
    driver = FakeDriver()
    driver.conditions = [
        inspect_pb2.Condition(
            node="n1", alert="CellarVolumeNearlyFull", severity="warning", volume_id=id_of(2)
        )
    ]
    text = f"making volume {id_of(99)} from {id_of(1)}"
    driver.copies = [
        inspect_pb2.Copy(text=text, total_bytes=100, copied_bytes=30, claim="shop/clone")
    ]

    async def scenario(page: Page, driver: FakeDriver) -> None:
        await page.until("document.querySelectorAll('#alert-list li').length === 3")
        first, second, _ = await page.texts("#alert-list li")
        assert first.startswith("critical")
        assert "its disk was pulled" in first
        assert "pvc-2" in second
        assert await page.run("document.title") == "(1) Cellar"
        [copy] = await page.texts("#running li")
        assert copy.startswith("shop/clone: making volume 0123456789ab-00000000… from pvc-1")
        assert "30 B of 100 B, 30 %" in copy
        assert await page.run("document.querySelector('progress').value") == 0.3
        bars = await page.run(
            "[...document.querySelectorAll('.bar')].map(e => e.getAttribute('aria-label'))"
        )
        assert bars == [
            "Promised: 40 GiB of 100 GiB, 40 %",
            "Used: 25 % of its filesystem",
        ]
        driver.copies.clear()
        driver.conditions.clear()
        await page.until("document.querySelectorAll('#running li').length === 0")
        await page.until("document.querySelectorAll('#alert-list li').length === 2")

    looked_at(driver, scenario)


@needs_browser
@pytest.mark.slow
def test_the_browser_enforces_the_policy() -> None:
    """What a fault in our script could do: none of it is carried out."""
    script = """const refused = [];
document.addEventListener("securitypolicyviolation", event => refused.push(event.effectiveDirective));
const attempt = work => { try { work(); } catch (error) { return error.name; } return "done"; };
const html = attempt(() => { document.body.innerHTML = "<b>x</b>"; });
const code = attempt(() => { document.createElement("script").text = "document.title = 'pwned'"; });
const image = new Image();
image.src = "http://127.0.0.1:9/x.png";
const style = document.createElement("p");
style.setAttribute("style", "color: red");
document.body.append(style, image);
const far = fetch("http://127.0.0.1:9/").then(() => "done", error => error.name);
Promise.all([far, new Promise(done => setTimeout(done, 300))]).then(
  ([far]) => ({html, code, far, refused: [...new Set(refused)].sort(), title: document.title}))
"""

    async def run() -> None:
        async with served(FakeDriver()) as url, browser.browser() as page:
            await page.open(url)
            await page.until("document.querySelectorAll('#volume-rows tr').length > 0")
            assert await page.run(
                f"(() => {{ {script.replace('Promise.all', 'return Promise.all')} }})()"
            ) == {
                "html": "TypeError",
                "code": "TypeError",
                "far": "TypeError",
                "refused": [
                    "connect-src",
                    "img-src",
                    "require-trusted-types-for",
                    "style-src-attr",
                ],
                "title": "(1) Cellar",
            }

    asyncio.run(run())


@needs_browser
@pytest.mark.skipif(not axe.SCRIPT, reason="no axe-core: `make test-page` installs it")
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str) -> None:
    """In the lists with something of each kind, narrow and wide, in a call and in a volume."""
    driver = FakeDriver()
    driver.nodes = [
        inspect_pb2.NodeEntry(name="n1", reachable=True, pools=["fast"], report_age=1),
        inspect_pb2.NodeEntry(name="n2", problem="no route"),
    ]
    driver.abnormal[id_of(1)] = "the image is gone"
    driver.snapshot_of["0123456789ab-" + "f" * 32] = id_of(0)
    driver.copies = [inspect_pb2.Copy(text="a clone of pvc-1", total_bytes=100, copied_bytes=30)]
    driver.end_call("CreateVolume", f'{{"volume_id": "{id_of(0)}"}}')
    driver.end_call("DeleteVolume", code="ABORTED", error="busy: try again")

    async def scenario(page: Page, driver: FakeDriver) -> None:
        await page.emulate(prefers_color_scheme=scheme)
        await page.until("document.querySelectorAll('#alert-list .badge').length > 2")
        await page.until("document.querySelectorAll('#running li').length > 0")
        assert await axe.violations(page) == []
        await page.click("#call-list summary")
        await page.until("document.querySelector('#call-list pre') !== null")
        assert await axe.violations(page) == []
        await page.resize(360, 800)
        assert await axe.violations(page) == []
        await page.click("#volume-rows button")
        await page.until("document.querySelector('dialog[open]')?.innerText.includes('n1')")
        await page.click("dialog .calls summary")
        assert await axe.violations(page) == []

    looked_at(driver, scenario)


app = typer.Typer()
app.command()(command.command)


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["--listen", "9580", "--endpoint", "unix:///no.sock"], 2, "is not HOST:PORT"),
        (["--endpoint", "unix:///no.sock"], 1, "nothing answers"),
        ([], 2, "give --endpoint"),
    ],
)
def test_what_cannot_be_shown_is_said(words: list[str], status: int, text: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == status
    assert text in result.output
