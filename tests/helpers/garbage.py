"""Garbage collection in the processes of the tests."""

from __future__ import annotations

import gc


def collect_rarely() -> None:
    """
    Collect garbage less often than Python does by default.

    Airflow, botocore and moto create so many objects that last that collections took a fifth of the CPU time of the tests.
    """
    gc.set_threshold(50_000, 20, 20)
