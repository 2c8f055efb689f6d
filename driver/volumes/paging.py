"""Lists in pages. The token of a page is the last id on the page before, so it never expires."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from driver.core.errors import NotFound, StaleToken
from driver.core.ids import ImageId
from driver.core.model import Image, Unreadable
from driver.core.ports.pool import Pool

SomeImage = TypeVar("SomeImage", bound=Image | Unreadable)


def cut(
    images: Iterable[tuple[Pool, SomeImage]], most: int
) -> tuple[list[tuple[Pool, SomeImage]], str]:
    """Return the first `most` images (0: all), and the token of the next page ("": there is none).

    `images` must be in the order of their ids.
    """
    page: list[tuple[Pool, SomeImage]] = []
    for pool, image in images:
        if most and len(page) == most:
            return page, str(page[-1][1].id)
        page.append((pool, image))
    return page, ""


def parse_token(token: str, parse_id: Callable[[str], ImageId]) -> str:
    """Return the id after which the page with this token begins ("" for the first page).

    `parse_id`: parses ids of the listed kind. Raises: StaleToken: the token is no id, so this
    driver did not issue it.
    """
    try:
        return str(parse_id(token)) if token else ""
    except NotFound:
        raise StaleToken("starting_token was not given by this driver; start again") from None
