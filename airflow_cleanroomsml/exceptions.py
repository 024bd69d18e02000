"""
What can go wrong, as a tree. Errors marked with * also are ``AirflowFailException``: the task fails at once, without retries.

::

    CleanRoomsMLError
    ├── InvalidRequestError *          refused here, nothing was sent; every violation of the request in one message
    ├── ConfigurationError *           the connection, its arguments or boto3's environment are not valid; nothing was sent
    ├── UnreachableError               no answer, and nothing was made: the service could not be reached
    │   └── CredentialsUnavailableError   credentials could not be fetched, nothing was sent
    ├── OutcomeUnknownError *          the request went out, no answer came back: it may have been carried out
    ├── OutcomeUnsettledError          the same, and the next try looks for it before it sends anything
    ├── ServiceError                   the service answered with an error
    │   ├── ValidationError *          it refuses this request
    │   ├── AccessDeniedError          permissions are missing
    │   ├── ResourceNotFoundError      what the request names does not exist
    │   ├── ConflictError              something stands in the way now
    │   │   └── AlreadyExistsError *   a create or start: the name is in use
    │   ├── QuotaExceededError         a quota is full
    │   │   └── NoQuotaError *         a quota is 0, or counts what exists: waiting does not help
    │   ├── ThrottledError             too many requests, still, after several attempts
    │   └── UnavailableError           the service failed (5xx)
    ├── ResultError *                  the operation was carried out, its answer cannot be used as asked
    ├── WaitBrokenError *              what was started goes on and could not be looked at; a retry would start another
    ├── JobFailedError *               what was waited for ended in failure
    └── WaitTimeoutError *             what was waited for had not ended in time; it goes on

The rule behind the marks: Airflow retries where the same request can succeed later without anybody changing it. Permissions and
resources are retried because IAM is eventually consistent and a listing may lag. A failed job is not, although it might succeed:
which status codes are passing faults is published nowhere, and a retry costs as much as the job.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from airflow_cleanroomsml._compat import AirflowException, AirflowFailException

#: How the line with the id of a request begins.
_REQUEST_ID = "Request id "
#: What AWS calls credentials that were good once (IAM user guide, common errors; STS).
EXPIRED_CREDENTIALS = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException")


def lines(first: str, *more: str) -> str:
    """A message of several lines, empty ones left out; viewers of logs cut long lines off."""
    return "\n  ".join((first, *(line for line in more if line)))


class CleanRoomsMLError(AirflowException):
    """Any error of this package."""


class InvalidRequestError(CleanRoomsMLError, AirflowFailException):
    """
    A request that its own service model refuses; nothing was sent.

    :param message: The operation and all violations, one a line.
    :param violations: Each violation as text: path, problem, what is allowed.
    """

    def __init__(self, message: str, violations: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.violations = list(violations)


class ConfigurationError(CleanRoomsMLError, AirflowFailException):
    """
    An argument such as ``region_name``, the connection, or boto3's environment is not valid; nothing was sent.

    The message names the argument, the entry of the connection or the variable. It never shows a password or a key.
    """


class UnreachableError(CleanRoomsMLError):
    """No answer from the service, and nothing was made."""


class CredentialsUnavailableError(UnreachableError):
    """Credentials could not be fetched, and nothing was sent; whether they can be the next time is not known."""


class OutcomeUnknownError(CleanRoomsMLError, AirflowFailException):
    """
    A create or start went out and no answer came back: it may have been carried out, so it is not sent again.

    :param summary: What was sent, and why there is no answer.
    :param advice: What to do about it.
    """

    def __init__(self, summary: str, advice: str = "") -> None:
        super().__init__(lines(summary, advice))
        self.summary = summary


class OutcomeUnsettledError(CleanRoomsMLError):
    """
    A create or start went out, no answer came back, and what it may have made does not show yet.

    Airflow retries it: the next try looks first, and sends only what still is not there. A task without retries is cleared.
    """


class ServiceError(CleanRoomsMLError):
    """
    The service answered with an error.

    :param message: What the service said and what to do.
    :param operation: API operation, for instance ``CreateAudienceModel``.
    :param code: The service's own name of the error, for instance ``ConflictException``.
    :param details: The other members of the answer, such as ``quotaName`` and ``quotaValue``.
    """

    #: What to do about it.
    advice: ClassVar[str] = "The service does not document this error for the operation."

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        code: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.code = code
        self.details = dict(details or {})


class ValidationError(ServiceError, AirflowFailException):
    """The service refuses this request."""

    advice = "Correct the argument that the service names; sending the same request again will not help."


class AccessDeniedError(ServiceError):
    """Permissions of the caller, or of a role that was passed, are missing."""

    advice = (
        "Check that the caller may perform this operation (with tags also cleanrooms-ml:TagResource), may pass the role "
        "(iam:PassRole for cleanrooms-ml.amazonaws.com), and that the role is of the caller's own account. Custom models also need "
        "cleanrooms:PassMembership or cleanrooms:PassCollaboration. "
        "A new role can take a few seconds to become available."
    )


class ResourceNotFoundError(ServiceError):
    """What the request names does not exist, or not yet."""

    advice = "Check the ARN, its account and its region: each party to a job has an ARN of its own."


class ConflictError(ServiceError):
    """Something stands in the way now: a resource that depends on this one, or another change under way."""

    advice = "Another resource depends on this one, or it is being changed: delete what depends on it first, or try again later."


class AlreadyExistsError(ConflictError, AirflowFailException):
    """A create or start whose name is in use."""

    advice = (
        'Choose another name, or set if_exists="reuse" to use the existing one; '
        "a name that includes the run, such as 'segment-{{ run_id }}', does not collide."
    )


class QuotaExceededError(ServiceError):
    """A service quota is full; ``details`` has ``quotaName`` and ``quotaValue``."""

    advice = (
        "Wait until others have ended, limit the tasks by an Airflow pool, or ask for an increase: "
        "https://console.aws.amazon.com/servicequotas/home/services/cleanrooms-ml/quotas"
    )


class NoQuotaError(QuotaExceededError, AirflowFailException):
    """A service quota that waiting does not free: it is 0, or counts what exists and not what is under way."""

    advice = (
        "Waiting does not help; delete what is not needed, or ask for an increase: "
        "https://console.aws.amazon.com/servicequotas/home/services/cleanrooms-ml/quotas"
    )


class ThrottledError(ServiceError):
    """Too many requests, still, after several attempts."""

    advice = "Start fewer at once, for instance with an Airflow pool."


class UnavailableError(ServiceError):
    """The service failed."""

    advice = "The service failed; try again later."


class ResultError(CleanRoomsMLError, AirflowFailException):
    """The operation was carried out, and what was asked for cannot be picked from its answer; a retry would carry it out again."""


class WaitBrokenError(CleanRoomsMLError, AirflowFailException):
    """What was started goes on and could not be looked at; a retry would start another."""


class JobFailedError(CleanRoomsMLError, AirflowFailException):
    """
    What was waited for ended in failure.

    :param message: Everything that is known of it.
    :param status: Status of the resource, for instance ``CREATE_FAILED``.
    :param code: The service's ``statusDetails.statusCode``; the values are published nowhere.
    :param reason: The service's ``statusDetails.message``.
    """

    def __init__(self, message: str, *, status: str = "", code: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.reason = reason


class WaitTimeoutError(CleanRoomsMLError, AirflowFailException):
    """What was waited for had not ended in time; it goes on, and so does what it costs."""


_BY_CODE: dict[str, type[ServiceError]] = {
    "ValidationException": ValidationError,
    "AccessDeniedException": AccessDeniedError,
    "ResourceNotFoundException": ResourceNotFoundError,
    "ConflictException": ConflictError,
    "ServiceQuotaExceededException": QuotaExceededError,
    "ThrottlingException": ThrottledError,
}


def _kind(operation: str, code: str, status: int, details: Mapping[str, Any]) -> type[ServiceError]:
    """Which class an answer becomes."""
    if code == "ConflictException" and operation.startswith(("Create", "Start")):
        return AlreadyExistsError
    if code == "ServiceQuotaExceededException":
        return QuotaExceededError if _frees_itself(operation, details) else NoQuotaError
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status == 429:
        return ThrottledError
    return UnavailableError if status >= 500 else ServiceError


#: Operations whose quotas of what is under way free themselves.
_JOBS = (
    "CreateAudienceModel",
    "CreateMLInputChannel",
    "CreateTrainedModel",
    "StartAudienceExportJob",
    "StartAudienceGenerationJob",
    "StartTrainedModelExportJob",
    "StartTrainedModelInferenceJob",
)
#: Words of the quotas that count what exists (user guide, Quotas); all others of a job's are taken for quotas of what is under way.
_EXISTING = re.compile(r"\b(active|versions?)\b", re.IGNORECASE)


def _frees_itself(operation: str, details: Mapping[str, Any]) -> bool:
    name, value = str(details.get("quotaName", "")), details.get("quotaValue")
    return operation in _JOBS and value != 0 and not _EXISTING.search(name)


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _redacted(item, redact) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, redact) for item in value]
    return redact(value) if isinstance(value, str) else value


def without_request_id(error: Exception) -> str:
    """What an error says, the same each time that it comes."""
    return "\n".join(line for line in str(error).splitlines() if not line.lstrip().startswith(_REQUEST_ID))


def service_error(operation: str, response: Mapping[str, Any], redact: Callable[[str], str] = str) -> ServiceError:
    """
    Turn an error answer into its exception.

    :param operation: API operation, for instance ``CreateAudienceModel``.
    :param response: The answer as botocore's ``ClientError.response`` has it.
    :param redact: Removes from the service's text what must not be shown.
    """
    error = response.get("Error", {})
    meta = response.get("ResponseMetadata", {})
    code = str(error.get("Code", "Unknown"))
    details = {
        key: _redacted(value, redact)
        for key, value in response.items()
        if key not in ("Error", "ResponseMetadata", "message", "Message") and value is not None
    }
    kind = _kind(operation, code, int(meta.get("HTTPStatusCode", 0)), details)
    said = redact(str(error.get("Message") or "The service gives no details."))
    known = ", ".join(f"{key} {value}" for key, value in details.items())
    request_id = f"{_REQUEST_ID}{meta['RequestId']}" if meta.get("RequestId") else ""
    return kind(
        lines(f"{operation} failed with {code}:", said, known, kind.advice, request_id),
        operation=operation,
        code=code,
        details=details,
    )
