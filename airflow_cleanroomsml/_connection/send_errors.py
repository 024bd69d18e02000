"""Errors of this package for requests that were not sent, or whose response was lost."""

from __future__ import annotations

from collections.abc import Callable

from botocore.exceptions import CredentialRetrievalError, NoCredentialsError, TokenRetrievalError

from airflow_cleanroomsml._connection.transport import CHECK_TLS, PREPARING, Stage, is_transient, may_lack_files
from airflow_cleanroomsml._requests.request import Request
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    ConfigurationError,
    CredentialsUnavailableError,
    OutcomeUnknownError,
    ServiceError,
    UnreachableError,
    join_lines,
)

#: Advice for incomplete configurations.
_HINTS: dict[type[Exception], str] = {
    NoCredentialsError: (
        "The connection has no login (or aws_conn_id is None, or aws_default does not exist), so boto3 looked for credentials by itself "
        "and found none. Add a login or a role to the connection that aws_conn_id names."
    ),
}


def explain_unsent(
    name: str,
    error: Exception,
    reason: str,
    stage: Stage,
    handled: BaseException | None,
    find_unusable_file: Callable[[], str],
    find_unusable_proxy: Callable[[], str],
) -> CleanRoomsMLError:
    """
    Build the error for a request that was not sent; an ``UnreachableError`` only if the next attempt may succeed.

    :param name: Name of the operation.
    :param error: What boto3 raised.
    :param reason: Its text, redacted.
    :param stage: The stage in which it was raised.
    :param handled: The error that was being handled when the call began.
    :param find_unusable_file: Finds a file of the configuration that cannot be read; returns a sentence about it, or an empty text.
    :param find_unusable_proxy: The same for a proxy.
    """
    first = f"{name} was not sent."
    # botocore refreshes credentials while it signs a request, so a failed login can surface here, too.
    if isinstance(error, (CredentialRetrievalError, TokenRetrievalError)):
        return CredentialsUnavailableError(join_lines(first, reason))
    needs_files = stage is Stage.CONNECTING and may_lack_files(error, handled)
    proxy = "" if isinstance(error, PREPARING) else find_unusable_proxy()
    if unusable := proxy or (find_unusable_file() if needs_files else ""):
        return ConfigurationError(join_lines(first, unusable))
    if stage is Stage.HEADERS:
        # The text of http.client quotes the header, which may be a credential.
        return CleanRoomsMLError(
            join_lines(
                first,
                "A header has a line break, or another character that HTTP does not allow.",
                "Check the credentials, a session token for instance, for a line break at the end.",
            )
        )
    if stage is Stage.PREPARING:
        return CleanRoomsMLError(join_lines(first, reason, _HINTS.get(type(error), "")))
    if is_transient(error, handled):
        return UnreachableError(join_lines(first, reason, "Check the region, the endpoint, the proxy and the network."))
    return CleanRoomsMLError(join_lines(first, reason, CHECK_TLS))


def build_outcome_unknown(request: Request, error: CleanRoomsMLError) -> OutcomeUnknownError:
    """Build the error for a create or start whose response was lost."""
    # The advice of a service error, to retry, would contradict ours.
    why = error.code if isinstance(error, ServiceError) else str(error)
    # The member that holds the name of an association is not called name.
    name = next(
        (value for member, value in request.members.items() if member == "name" or member.endswith("AssociationName")),
        "",
    )
    advice = (
        f"Check whether {name!r} exists: if so, use the existing resource "
        '(if_exists="reuse" finds it by name); if not, clear the task.'
        if name
        else "Check whether it took effect, and clear the task only if it did not."
    )
    return OutcomeUnknownError(
        join_lines(
            f"{request.operation.name} was sent, but its outcome is unknown: it may have been carried out.", why
        ),
        f"Airflow does not retry it. {advice}",
    )
