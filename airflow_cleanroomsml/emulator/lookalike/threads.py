"""Linear algebra on one thread."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits


def one_thread() -> AbstractContextManager[object]:
    """
    Keep BLAS to one thread.

    The matrices are narrow: where other processes are busy, threads that wait for each other cost more than
    they give (measured on two busy cores: 0.9 s for what took 2 to 5 s). And sums that are always made in the
    same order give the same audience each time.
    """
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
