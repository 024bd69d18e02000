"""Where a watcher keeps how far it has followed a listing of jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._waiting.job_bookmark import JobBookmark

log = logging.getLogger(__name__)

#: Seconds that a read or write of an asset's state may take.
_TIMEOUT = 30.0


class BookmarkStore:
    """
    The bookmark of one watcher in the state of the assets that it watches.

    :param key: Key in the state of the assets.
    :param stores: Airflow's stores of that state, one for each asset; none before Airflow 3.3.
    :param delay: Pause before a failed read is tried again, in seconds.
    """

    def __init__(self, key: str, stores: Sequence[Any], delay: float) -> None:
        self._key = key
        self._stores = stores
        self._delay = delay
        #: What is stored, as far as this process knows.
        self.bookmark: JobBookmark | None = None

    async def read(self) -> JobBookmark | None:
        """Read the bookmark to continue from, however long that takes; None if there is none."""
        if not self._stores:
            log.info(
                "Airflow keeps no state for this watcher: jobs that finish while the triggerer is down may have no event."
            )
            return None
        while True:
            try:
                found = [await _call(store, "get", self._key) for store in self._stores]
            except Exception:
                log.exception("Could not read the state of the asset; trying again in %.0f s.", self._delay)
                await _clock.sleep_async(self._delay)
            else:
                bookmarks = [JobBookmark.parse(self._key, text) for text in found if text is not None]
                self.bookmark = max(bookmarks, key=lambda bookmark: bookmark.until, default=None)
                return self.bookmark

    async def write(self, bookmark: JobBookmark) -> None:
        """Write the bookmark; a failure is only logged, because an error would end all watchers of the listing."""
        try:
            for store in self._stores:
                await _call(store, "set", self._key, bookmark.format())
            self.bookmark = bookmark
        except Exception:
            log.exception(
                "Could not store which jobs have been reported: a restart of the triggerer may repeat events."
            )


async def _call(store: Any, method: str, *args: Any) -> Any:
    # Airflow 3.3.0 and 3.3.1 have no asynchronous methods.
    call = getattr(store, f"a{method}", None)
    awaitable = call(*args) if call else asyncio.to_thread(getattr(store, method), *args)
    # A triggerer that is stopping may no longer answer, but it waits for its triggers to end.
    return await asyncio.wait_for(awaitable, _TIMEOUT)
