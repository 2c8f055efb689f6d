"""axe-core in a page: what of it people with other eyes and hands cannot use.

`make test-page` installs it, for the tests only.
"""

from __future__ import annotations

from typing import Final

from tests.support.browser import Page
from tools.shell import CACHE

SCRIPT: Final = next((CACHE / "axe").glob("lib/*/site-packages/axe_playwright_python/*.js"), None)
_RUN: Final = """\
axe.run(document, {resultTypes: ["violations"]}).then(result => result.violations.flatMap(
  rule => rule.nodes.map(node => `${rule.id}: ${node.html} ${node.failureSummary}`)))
"""


async def violations(page: Page) -> list[str]:
    """All rules, those of good practice too, that a part of the page breaks."""
    assert SCRIPT
    if not await page.run("'axe' in window"):
        await page.run(f"{SCRIPT.read_text(encoding='utf-8')}; 0")
    return list(await page.run(_RUN))
