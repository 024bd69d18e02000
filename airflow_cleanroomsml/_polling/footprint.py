"""What the poller does about the memory of the process that it is in, which is a triggerer with thousands of other triggers."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def uncollected() -> Iterator[None]:
    """
    Collect no garbage while something is loaded that stays.

    So many new objects set off a search through all that the process has, which holds its event loop for a tenth of a second and
    finds nothing.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def forget_tables(session: Any) -> None:
    """
    Forget the table of all endpoints of AWS, which making a client reads and the client itself never looks at again.

    It is half of what a client takes (6.7 of 13.3 MiB, botocore 1.43). The session reads it again for its next client.

    :param session: A session of boto3.
    """
    core = session._session
    # botocore has no public way. Without these parts of it, the table stays: then it costs what it costs elsewhere.
    with suppress(AttributeError):
        core._register_endpoint_resolver()
        core.get_component("data_loader")._cache.clear()


class Heap:
    """
    What a process has loaded when its first wait begins, kept out of the search for garbage until its last one ends.

    A triggerer with Airflow and boto3 is some two hundred thousand objects that stay. Each search through all of them holds the event loop
    for a tenth of a second, and thousands of waits that begin set off several. What is garbage already at that moment stays as well.
    """

    def __init__(self) -> None:
        self._is_kept = False

    def keep(self) -> None:
        """
        JobFilter what is there now no more.

        Once only, or garbage would add up as connections come and go; and not where the process has arranged that for itself.
        """
        if not self._is_kept and not gc.get_freeze_count():
            gc.freeze()
            self._is_kept = True

    def release(self) -> None:
        """JobFilter all again."""
        if self._is_kept:
            self._is_kept = False
            gc.unfreeze()
