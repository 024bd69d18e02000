"""Errors that a backend raises; the front turns them into the answers that the service model describes."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """
    An error answer.

    :param code: Name of the error shape, for instance ``ConflictException``.
    :param message: What the service says.
    :param status: HTTP status, for an error that is no shape of the model.
    :param members: Further members of the answer.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members


def not_found(noun: str, arn: str) -> ApiError:
    """The resource does not exist, or not in the caller's account."""
    return ApiError("ResourceNotFoundException", f"{noun} {arn} was not found in this account and region.")


def invalid(message: str) -> ApiError:
    """The request cannot be carried out as it is."""
    return ApiError("ValidationException", message)


def conflict(message: str) -> ApiError:
    """Something stands in the way."""
    return ApiError("ConflictException", message)


def denied(message: str) -> ApiError:
    """The caller may not."""
    return ApiError("AccessDeniedException", message)


def quota(name: str, value: int) -> ApiError:
    """A service quota is full."""
    return ApiError(
        "ServiceQuotaExceededException",
        f"The quota '{name}' of {value} is reached.",
        quotaName=name,
        quotaValue=float(value),
    )
