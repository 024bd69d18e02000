"""Pages of List operations, whose cost does not depend on the number of resources."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

#: Maximum number of items that a page skips, for instance because of their status. A page that has skipped that many ends: it has fewer
#: entries than ``maxResults``, perhaps none, and a ``nextToken``.
MOST_SKIPPED = 1_000


@dataclass(frozen=True)
class Listing:
    """
    The result of a List operation.

    :param items: The items sorted by position, including those that ``includes`` filters out.
    :param describe: Returns the entry of an item.
    :param includes: Returns whether an item is listed.
    :param position: Returns the position of an item, a number above 0.
    :param newest_first: List in descending order of positions.
    """

    items: Sequence[Any]
    describe: Callable[[Any], dict[str, Any]]
    includes: Callable[[Any], bool] = lambda _: True
    position: Callable[[Any], int] = attrgetter("sequence")
    newest_first: bool = False

    def read_page(self, after: int, size: int) -> tuple[list[dict[str, Any]], int]:
        """
        Read a page.

        :param after: Position of the last item of the previous page; 0 for the first page.
        :param size: Maximum number of entries.
        :return: The entries, and the position after which the next page starts; 0 on the last page.
        """
        page: list[dict[str, Any]] = []
        last = after
        skipped = 0
        for item in self._iterate_after(after):
            if not self.includes(item):
                skipped += 1
                # The next page must check items after a full page again: by then, their status may have changed.
                last = last if len(page) == size else self.position(item)
                if skipped == MOST_SKIPPED:
                    return page, last
            elif len(page) == size:
                return page, last
            else:
                page.append(self.describe(item))
                last = self.position(item)
        return page, 0

    def _iterate_after(self, after: int) -> Iterator[Any]:
        # Slicing the sequence would copy it for each page.
        if self.newest_first:
            end = bisect_left(self.items, after, key=self.position) if after else len(self.items)
            indexes = range(end - 1, -1, -1)
        else:
            indexes = range(bisect_right(self.items, after, key=self.position), len(self.items))
        return map(self.items.__getitem__, indexes)
