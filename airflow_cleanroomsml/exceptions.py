"""
The exceptions of this package. Those marked with * are also ``AirflowFailException``: the task fails at once, without retries.

::

    CleanRoomsMLError
    ├── InvalidRequestError *          the request violates the service model; nothing was sent
    ├── ConfigurationError *           the connection, its arguments or boto3's environment are not valid; nothing was sent
    ├── UnreachableError               the service could not be reached; nothing was created
    │   └── CredentialsUnavailableError   credentials could not be fetched; nothing was sent
    ├── OutcomeUnknownError *          the request was sent, but its response was lost: it may have been carried out
    ├── OutcomeUnsettledError          the same, but a retry looks for the resource before it sends the request again
    ├── ServiceError                   the service returned an error
    │   ├── ValidationError *          the request is not valid
    │   ├── AccessDeniedError          permissions are missing
    │   ├── ResourceNotFoundError      a resource in the request does not exist
    │   ├── ConflictError              the request conflicts with the current state of a resource
    │   │   └── AlreadyExistsError *   the name of the resource to create or start is in use
    │   ├── QuotaExceededError         a quota is used up
    │   │   └── NoQuotaError *         a quota is 0, or counts existing resources: waiting cannot help
    │   ├── ThrottledError             too many requests, even after several attempts
    │   └── UnavailableError           the service failed (5xx)
    ├── ResultError *                  the operation was carried out, but its response has no such result
    ├── DataCheckFailedError *         training data or a seed cannot be used; no job was started
    ├── WaitBrokenError *              the status of a running job could not be read; a retry would start another one
    ├── JobFailedError *               the job failed
    └── WaitTimeoutError *             the wait timed out; what it waited for continues, unless the task could cancel it

Airflow retries an error if the same request may succeed later without a change by anyone. It retries missing permissions and resources,
because IAM and listings are eventually consistent. It does not retry a failed job, although that might succeed: AWS does not publish which
status codes are temporary, and a retry costs as much as the job.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml._compat import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from typing_extensions import Self

#: Width of a line in characters, beside its indentation.
_LINE_WIDTH = 118
#: Prefix of the line with the request ID, which AWS Support asks for.
_REQUEST_ID = "Request ID: "
#: Error codes of credentials that have expired or were revoked (IAM user guide, common errors; STS). A new login may help.
EXPIRED_CREDENTIALS = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException")
#: Advice for these error codes.
RENEW_CREDENTIALS = "Renew the credentials in the Airflow connection, or wherever else boto3 finds them."
#: Error codes of a signature that the endpoint does not accept (IAM user guide, troubleshoot SigV4; API references, common errors).
_SIGNATURE_ERRORS = (
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
)


def join_lines(first: str, *more: str) -> str:
    """
    Join the lines of a message, without empty ones. Log viewers truncate long lines, so messages have several.

    All that is known comes before all that can be done about it. A request ID, which may be that of an error that is quoted, comes last.
    """
    lines = "\n  ".join((first, *(line for line in more if line))).split("\n")
    return "\n".join(sorted(lines, key=_is_request_id))


def _is_request_id(line: str) -> bool:
    return line.lstrip().startswith(_REQUEST_ID)


#: Advice for these error codes.
_SIGN_AGAIN = join_lines(
    "The endpoint does not accept the signature of the request.",
    "Check that region_name matches the endpoint, that the secret access key is correct, and that the worker's clock is right.",
)


class CleanRoomsMLError(AirflowException):
    """Base class of all errors of this package."""


class InvalidRequestError(CleanRoomsMLError, AirflowFailException):
    """
    The request violates the service model; nothing was sent.

    :param message: The operation and its violations, one per line.
    :param violations: The violations as text: path, problem, and what is allowed.
    """

    def __init__(self, message: str, violations: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.violations = list(violations)


class ConfigurationError(CleanRoomsMLError, AirflowFailException):
    """
    An argument such as ``region_name``, the connection or boto3's environment is not valid; nothing was sent.

    The message names the argument, the entry of the connection or the variable. If the region does not exist in AWS, it suggests similar
    regions. It never contains a password or a key.
    """


class UnreachableError(CleanRoomsMLError):
    """The service could not be reached; nothing was created."""


class CredentialsUnavailableError(UnreachableError):
    """Credentials could not be fetched; nothing was sent. The next attempt may succeed."""


# Final, because only a person can tell what the request created: nothing marks it as the task's own.
class OutcomeUnknownError(CleanRoomsMLError, AirflowFailException):
    """
    The response to a create or start was lost. The request may have been carried out, so it is not sent again.

    :param summary: What was sent, and why there is no response.
    :param advice: What to do.
    """

    def __init__(self, summary: str, advice: str = "") -> None:
        super().__init__(join_lines(summary, advice))
        self.summary = summary


class OutcomeUnsettledError(CleanRoomsMLError):
    """
    The response to a create or start was lost, and the resource is not visible yet.

    Airflow retries the task, which looks for the resource again and sends the request only if it is still not there. If no retries are
    left, clear the task.
    """


class ServiceError(CleanRoomsMLError):
    """
    The service returned an error.

    :param summary: What happened, in the service's words.
    :param to_do: What to do about it.
    :param request_id: ID of the request, which is the last line of the message.
    :param operation: API operation, for instance ``CreateAudienceModel``.
    :param code: Error code of the service, for instance ``ConflictException``.
    :param details: The other members of the response, such as ``quotaName`` and ``quotaValue``.
    """

    #: What to do.
    advice: ClassVar[str] = join_lines(
        "The API reference does not list this error for the operation.",
        "If a retry does not help, contact AWS Support with the request ID.",
    )

    def __init__(
        self,
        summary: str,
        *,
        to_do: str = "",
        request_id: str = "",
        operation: str = "",
        code: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(join_lines(summary, to_do, format_request_id(request_id)))
        self.summary = summary
        self.to_do = to_do
        self.request_id = request_id
        self.operation = operation
        self.code = code
        self.details = dict(details or {})

    @classmethod
    def choose_advice(cls, operation: str, actions: Collection[str] = ()) -> str:
        """
        Return what to do.

        :param operation: API operation that failed; a subclass may give other advice for some.
        :param actions: IAM actions that the request needs, as far as they are known.
        """
        del operation, actions
        return cls.advice

    def extend(self, *facts: str, to_do: str = "") -> Self:
        """
        Return the same error with more in its message.

        :param facts: What else is known of the error; it comes before the advice.
        :param to_do: What to do besides; it comes after the advice.
        """
        return self._rebuild(join_lines(self.summary, *facts), "\n  ".join(filter(None, (self.to_do, to_do))))

    def replace_advice(self, to_do: str) -> Self:
        """Return the same error with other advice, where that of its class does not help."""
        return self._rebuild(self.summary, to_do)

    def _rebuild(self, summary: str, to_do: str) -> Self:
        return type(self)(
            summary,
            to_do=to_do,
            request_id=self.request_id,
            operation=self.operation,
            code=self.code,
            details=self.details,
        )


class ValidationError(ServiceError, AirflowFailException):
    """The request is not valid."""

    advice = "Correct the argument that the service names; the same request would fail again."


class AccessDeniedError(ServiceError):
    """The caller, or a role in the request, lacks permissions."""

    advice = "Check that the caller has permission for this operation. A new permission can take a few seconds to become effective."
    _ROLE_ADVICE: ClassVar[str] = (
        "A role in the request must be in the caller's account, and trust cleanrooms-ml.amazonaws.com."
    )

    @classmethod
    def choose_advice(cls, operation: str, actions: Collection[str] = ()) -> str:
        """Return what to do; see the base."""
        del operation
        if not actions:
            return cls.advice
        needed = f"Check that the caller has at least these permissions: {', '.join(actions)}."
        return join_lines(
            *textwrap.wrap(needed, _LINE_WIDTH, break_on_hyphens=False),
            cls._ROLE_ADVICE if "iam:PassRole" in actions else "",
            "A new permission or role can take a few seconds to become effective.",
        )


class ResourceNotFoundError(ServiceError):
    """A resource in the request does not exist, or does not exist yet."""

    # A cross-account generation job has two ARNs, and neither account can use the other's (user guide, ml-behaviors).
    advice = "Check the ARN, its account and its region; each account of a cross-account job has its own ARN for it."


class ConflictError(ServiceError):
    """Another resource depends on this one, or this one is being changed."""

    advice = "Delete the resources that depend on it first, or try again once its current change has finished."


class AlreadyExistsError(ConflictError, AirflowFailException):
    """The name of the resource to create or start is in use."""

    advice = join_lines(
        'Choose another name, or set if_exists="reuse" to use the existing resource.',
        "A name that contains the run, such as 'segment-{{ run_id }}', is unique.",
    )


class QuotaExceededError(ServiceError):
    """A service quota is used up; ``details`` has ``quotaName`` and ``quotaValue``."""

    advice = join_lines(
        "Wait for other jobs to end, limit the tasks with an Airflow pool, or request an increase:",
        "https://console.aws.amazon.com/servicequotas/home/services/cleanrooms-ml/quotas",
    )


# A subclass of the error after which a task waits for quota, so code that waits has to check for this one first.
class NoQuotaError(QuotaExceededError, AirflowFailException):
    """A service quota is 0, or it counts existing resources rather than running jobs, so waiting cannot help."""

    advice = join_lines(
        "Waiting cannot help; delete resources that are no longer needed, or request an increase:",
        "https://console.aws.amazon.com/servicequotas/home/services/cleanrooms-ml/quotas",
    )


class ThrottledError(ServiceError):
    """Too many requests, even after several attempts."""

    # Rates are per operation (user guide, Quotas), so only a start is helped by fewer starts.
    advice = join_lines(
        "Run fewer of these tasks at once, for instance with an Airflow pool.",
        "Other callers in the account count toward the same limit.",
    )
    _START_ADVICE: ClassVar[str] = "Start fewer jobs at once, for instance with an Airflow pool."
    _READ_ADVICE: ClassVar[str] = join_lines(
        "Poll less often, with a larger waiter_delay or poke_interval, and run fewer of these tasks at once.",
        "Other callers in the account count toward the same limit.",
    )

    @classmethod
    def choose_advice(cls, operation: str, actions: Collection[str] = ()) -> str:
        """Return what to do; see the base."""
        del actions
        if operation in _JOBS:
            return cls._START_ADVICE
        return cls._READ_ADVICE if operation.startswith(_READS) else cls.advice


class UnavailableError(ServiceError):
    """The service failed."""

    advice = join_lines(
        "The service failed; the request is not the cause, so a retry may succeed.",
        "If it keeps failing, look at the AWS Health Dashboard, or contact AWS Support with the request ID.",
    )


class ResultError(CleanRoomsMLError, AirflowFailException):
    """The operation was carried out, but its response lacks the requested result; a retry would carry it out again."""


class DataCheckFailedError(CleanRoomsMLError, AirflowFailException):
    """
    Training data or a seed cannot be used; no job was started.

    :param message: All findings, one per line.
    :param findings: The findings that are errors: ``rule``, ``severity``, ``field``, ``problem``, ``advice`` and ``source``.
    """

    def __init__(self, message: str, findings: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.findings = [dict(finding) for finding in findings]


class WaitBrokenError(CleanRoomsMLError, AirflowFailException):
    """The status of a running job could not be read; a retry would start another one."""


class JobFailedError(CleanRoomsMLError, AirflowFailException):
    """
    The job failed.

    :param message: Everything that is known about the failure, and the next step.
    :param status: Status of the resource, for instance ``CREATE_FAILED``.
    :param code: ``statusDetails.statusCode``, whose values AWS does not publish.
    :param reason: ``statusDetails.message``.
    """

    def __init__(self, message: str, *, status: str = "", code: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.reason = reason


# Final, because a retry would wait for the whole time-out again: a person decides whether to wait longer, and clears the task.
class WaitTimeoutError(CleanRoomsMLError, AirflowFailException):
    """The wait timed out. What the task waited for continues, unless the task could cancel it; a running job incurs charges."""


_BY_CODE: dict[str, type[ServiceError]] = {
    "ValidationException": ValidationError,
    "AccessDeniedException": AccessDeniedError,
    "ResourceNotFoundException": ResourceNotFoundError,
    "ConflictException": ConflictError,
    "ServiceQuotaExceededException": QuotaExceededError,
    "ThrottlingException": ThrottledError,
    # Athena, which the data check calls (Athena API reference, StartQueryExecution).
    "TooManyRequestsException": ThrottledError,
}


def _choose_class(operation: str, code: str, status: int, details: Mapping[str, Any]) -> type[ServiceError]:
    """Choose the exception for an error."""
    if code == "ConflictException" and operation.startswith(("Create", "Start")):
        # AWS documents no other conflict of a create or start (API reference, CreateTrainingDataset; user guide, ml-behaviors).
        return AlreadyExistsError
    # One error code stands for every quota; only the quota's name and value show whether waiting can help.
    if code == "ServiceQuotaExceededException":
        return QuotaExceededError if _frees_itself(operation, details) else NoQuotaError
    if code in _BY_CODE:
        return _BY_CODE[code]
    # Codes that the model does not list, for instance of a gateway in front of the service.
    if status == 429:
        return ThrottledError
    return UnavailableError if status >= 500 else ServiceError


#: Operations with quotas of running jobs, which become available when a job ends.
_JOBS = (
    "CreateAudienceModel",
    "CreateMLInputChannel",
    "CreateTrainedModel",
    "StartAudienceExportJob",
    "StartAudienceGenerationJob",
    "StartTrainedModelExportJob",
    "StartTrainedModelInferenceJob",
)
#: Beginnings of operations that read: of this service, and of Glue, S3, IAM and Athena, which the data checks call.
_READS = ("Get", "BatchGet", "List", "Head", "Simulate")
#: Words in the names of quotas that count existing resources (user guide, Quotas). All other quotas of jobs are assumed to count running
#: jobs, since AWS does not publish the values of ``quotaName``. Compiled when it is used: a Dag file that is parsed does not need it.
_EXISTING = r"\b(active|versions?)\b"


def _frees_itself(operation: str, details: Mapping[str, Any]) -> bool:
    name, value = str(details.get("quotaName", "")), details.get("quotaValue")
    return operation in _JOBS and value != 0 and not re.search(_EXISTING, name, re.IGNORECASE)


def _redact(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _redact(item, redact) for key, item in value.items()}
    if isinstance(value, list):
        return [_redact(item, redact) for item in value]
    return redact(value) if isinstance(value, str) else value


def format_details(details: Mapping[str, Any]) -> str:
    """Format the other members of an error response in one line."""
    return ", ".join(f"{name}: {_format_detail(value)}" for name, value in details.items())


def _format_detail(value: Any) -> str:
    # The service sends quotas as floating-point numbers, but people look for "2" in the console.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # A ValidationException of cleanrooms lists the fields, each with a name and a message (service model).
    if isinstance(value, Mapping) and set(value) == {"name", "message"}:
        return f"{value['name']} ({value['message']})"
    if isinstance(value, Mapping):
        return format_details(value)
    return ", ".join(map(_format_detail, value)) if isinstance(value, list) else str(value)


def format_request_id(request_id: str) -> str:
    """Return the line of a message with the request ID; empty without one."""
    return f"{_REQUEST_ID}{request_id}" if request_id else ""


def summarize_error(error: Exception) -> str:
    """
    Return what happened: the text of an error, for a message with its own advice.

    It lacks the advice of the service's errors, and their request ID, so that repeated errors have the same text.
    """
    return error.summary if isinstance(error, ServiceError) else str(error)


def format_advice(error: Exception) -> str:
    """Return what :func:`summarize_error` leaves out: the advice of the service's errors, and their request ID."""
    return join_lines(error.to_do, format_request_id(error.request_id)) if isinstance(error, ServiceError) else ""


def _choose_advice(kind: type[ServiceError], operation: str, code: str, actions: Collection[str]) -> str:
    """Choose what to do about an error: some codes have their own advice, all others that of their exception."""
    if code in EXPIRED_CREDENTIALS:
        return RENEW_CREDENTIALS
    return _SIGN_AGAIN if code in _SIGNATURE_ERRORS else kind.choose_advice(operation, actions)


def service_error(
    operation: str, response: Mapping[str, Any], redact: Callable[[str], str] = str, actions: Collection[str] = ()
) -> ServiceError:
    """
    Build the exception for an error of the service.

    :param operation: API operation, for instance ``CreateAudienceModel``.
    :param response: The response, as in botocore's ``ClientError.response``.
    :param redact: Removes confidential values from the service's texts.
    :param actions: IAM actions that the request needs, as far as they are known.
    """
    error = response.get("Error", {})
    meta = response.get("ResponseMetadata", {})
    code = str(error.get("Code", "Unknown"))
    details = {
        key: _redact(value, redact)
        for key, value in response.items()
        if key not in ("Error", "ResponseMetadata", "message", "Message") and value is not None
    }
    kind = _choose_class(operation, code, int(meta.get("HTTPStatusCode", 0)), details)
    advice = _choose_advice(kind, operation, code, actions)
    message = redact(str(error.get("Message") or "AWS gave no details."))
    return kind(
        join_lines(f"{operation} failed with {code}:", message, format_details(details)),
        to_do=advice,
        request_id=str(meta.get("RequestId") or ""),
        operation=operation,
        code=code,
        details=details,
    )
