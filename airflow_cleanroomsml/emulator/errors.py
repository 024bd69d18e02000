"""Errors that a backend raises; the server encodes them as the service model describes."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """
    An error response.

    :param code: Name of the error shape, for instance ``ConflictException``.
    :param message: Message of the service.
    :param status: HTTP status, for an error that has no shape in the model.
    :param members: Further members of the response.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members


# The models of ``cleanrooms`` give its errors a reason, and the id and type of the resource. Those of ``cleanroomsml`` have no such
# members; the encoder leaves them out.


def not_found_error(noun: str, identifier: str, resource_type: str = "MEMBERSHIP") -> ApiError:
    """
    Build the error for a resource that does not exist, or that the caller cannot see.

    :param resource_type: A value of the enum of ``cleanrooms``: the type of the parent where the enum lacks the resource's own type.
    """
    return ApiError(
        "ResourceNotFoundException",
        f"{noun} {identifier} was not found in this account and region.",
        resourceId=identifier,
        resourceType=resource_type,
    )


def validation_error(message: str) -> ApiError:
    """Build the error for a request that the service cannot process."""
    return ApiError("ValidationException", message, reason="INVALID_CONFIGURATION")


def conflict_error(message: str, reason: str = "INVALID_STATE", **members: Any) -> ApiError:
    """
    Build the error for a request that conflicts with the state of a resource.

    :param reason: ALREADY_EXISTS, SUBRESOURCES_EXIST or INVALID_STATE.
    :param members: ``resourceId`` and ``resourceType``.
    """
    return ApiError("ConflictException", message, reason=reason, **members)


def access_denied_error(message: str) -> ApiError:
    """Build the error for a caller without permission."""
    return ApiError("AccessDeniedException", message, reason="INSUFFICIENT_PERMISSIONS")


def quota_error(name: str, value: int) -> ApiError:
    """Build the error for a service quota that is used up."""
    return ApiError(
        "ServiceQuotaExceededException",
        f"The request exceeds the quota '{name}', which is {value}.",
        quotaName=name,
        quotaValue=float(value),
    )


def not_implemented_error(message: str) -> ApiError:
    """
    Build the error for an operation that the emulator does not support.

    The status is 400 although 501 would describe it: clients retry a 5xx, for six seconds with botocore's defaults.
    """
    return ApiError("NotImplementedByEmulatorException", message, status=400)
