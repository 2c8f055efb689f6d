"""Lists in pages: the token of a page is the last id that was given, so that none goes stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from driver.core.errors import NotFound, StaleToken
from driver.core.ids import parse_volume_id
from driver.core.model import Image, Unreadable
from driver.core.ports.pool import Pool

SomeImage = TypeVar("SomeImage", bound=Image | Unreadable)


def cut(
    images: Iterable[tuple[Pool, SomeImage]], most: int, after: str
) -> tuple[list[tuple[Pool, SomeImage]], str]:
    """Return at most `most` images (0: all) with ids above `after` ("": from the first), and the
    token of the next page ("" at the end).

    `images` must come in the order of their ids. Raises: StaleToken: `after` is no id.
    """
    page: list[tuple[Pool, SomeImage]] = []
    for pool, image in after_token(images, after):
        if most and len(page) == most:
            return page, str(page[-1][1].id)
        page.append((pool, image))
    return page, ""


def after_token(
    images: Iterable[tuple[Pool, SomeImage]], after: str
) -> Iterator[tuple[Pool, SomeImage]]:
    """Yield the images with ids above `after` ("": all). Raises: StaleToken: `after` is no id."""
    if after:
        _check(after)
    return (one for one in images if str(one[1].id) > after)


def _check(token: str) -> None:
    """Raise StaleToken if the token has not the form of an id."""
    try:
        parse_volume_id(token)  # ids of snapshots have the same form
    except NotFound:
        raise StaleToken(f"starting_token: {token!r} was not given by this driver") from None
