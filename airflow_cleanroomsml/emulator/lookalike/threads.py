"""Limits the threads of linear algebra."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits


def limit_blas_threads() -> AbstractContextManager[object]:
    """
    Limit BLAS to one thread.

    The matrices are narrow, so on a busy machine threads cost more than they gain (measured on two busy cores: 0.9 s instead of 2 to
    5 s). Besides, one thread always adds numbers in the same order, so the same job gives the same audience.
    """
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
