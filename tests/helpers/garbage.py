"""Garbage collection in processes that run tests."""

from __future__ import annotations

import gc


def collect_rarely() -> None:
    """
    Collect garbage less often than Python does by default.

    Airflow, botocore and moto create many objects that last, so collections find little and take a noticeable share of the time. Only for
    processes that run tests: components of an Airflow under test collect as usual.
    """
    gc.set_threshold(50_000, 20, 20)
