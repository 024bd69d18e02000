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


# ``cleanrooms`` tells reason, id and type of what stands in the way; ``cleanroomsml`` has no such members, and leaves them out.


def not_found(noun: str, identifier: str, resource_type: str = "MEMBERSHIP") -> ApiError:
    """
    The resource does not exist, or not for the caller.

    :param resource_type: A value of ``cleanrooms``, which has none for most of its nouns: where it was looked for.
    """
    return ApiError(
        "ResourceNotFoundException",
        f"{noun} {identifier} was not found in this account and region.",
        resourceId=identifier,
        resourceType=resource_type,
    )


def invalid(message: str) -> ApiError:
    """The request cannot be carried out as it is."""
    return ApiError("ValidationException", message, reason="INVALID_CONFIGURATION")


def conflict(message: str, reason: str = "INVALID_STATE", **members: Any) -> ApiError:
    """
    Something stands in the way.

    :param reason: ALREADY_EXISTS, SUBRESOURCES_EXIST or INVALID_STATE.
    :param members: ``resourceId`` and ``resourceType``.
    """
    return ApiError("ConflictException", message, reason=reason, **members)


def denied(message: str) -> ApiError:
    """The caller may not."""
    return ApiError("AccessDeniedException", message, reason="INSUFFICIENT_PERMISSIONS")


def quota(name: str, value: int) -> ApiError:
    """A service quota is full."""
    return ApiError(
        "ServiceQuotaExceededException",
        f"The quota '{name}' of {value} is reached.",
        quotaName=name,
        quotaValue=float(value),
    )
