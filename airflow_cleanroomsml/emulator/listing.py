"""Listings, read a page at a time: a page costs the same however many resources there are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

#: Items that a page skips at most, because of their status for instance. A page that skips as many ends there: it has fewer entries than
#: were asked for, maybe none, and a token for the next page.
MOST_SKIPPED = 1_000


@dataclass(frozen=True)
class Listing:
    """
    The result of a List operation.

    :param items: What is listed, and more that ``includes`` leaves out, sorted by position.
    :param entry: Returns the entry of an item.
    :param includes: Whether an item is listed.
    :param position: Returns the position of an item, a number above 0.
    :param newest_first: List in descending order of positions.
    """

    items: Sequence[Any]
    entry: Callable[[Any], dict[str, Any]]
    includes: Callable[[Any], bool] = lambda _: True
    position: Callable[[Any], int] = attrgetter("sequence")
    newest_first: bool = False

    def page(self, after: int, size: int) -> tuple[list[dict[str, Any]], int]:
        """
        Read a page.

        :param after: Position of the last item of the page before; 0 for the first page.
        :param size: Entries on a page.
        :return: The entries, and the position to go on after; 0 if the listing ends here.
        """
        page: list[dict[str, Any]] = []
        last = after
        skipped = 0
        for item in self._following(after):
            if not self.includes(item):
                skipped += 1
                # What is skipped after a full page may be listed by then.
                last = last if len(page) == size else self.position(item)
                if skipped == MOST_SKIPPED:
                    return page, last
            elif len(page) == size:
                return page, last
            else:
                page.append(self.entry(item))
                last = self.position(item)
        return page, 0

    def _following(self, after: int) -> Iterator[Any]:
        if self.newest_first:
            end = bisect_left(self.items, after, key=self.position) if after else len(self.items)
            indexes = range(end - 1, -1, -1)
        else:
            indexes = range(bisect_right(self.items, after, key=self.position), len(self.items))
        return map(self.items.__getitem__, indexes)
