"""When to log in again after the service rejected the credentials, or they could not be fetched."""

from __future__ import annotations

from airflow_cleanroomsml.exceptions import (
    EXPIRED_CREDENTIALS,
    CleanRoomsMLError,
    CredentialsUnavailableError,
    ServiceError,
    join_lines,
)

#: Seconds before each new login: none at first, for a session that has expired; 35 minutes in all, for somebody to correct a connection.
RENEWAL_PAUSES = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, *([300.0] * 6))


class Renewal:
    """
    Counts the logins that did not help.

    ``ready_at`` is when the next one may be tried, in seconds since 1970.
    """

    def __init__(self) -> None:
        self._attempts = 0
        self.ready_at = 0.0

    def record_success(self) -> None:
        """Note that the service accepted the credentials."""
        self._attempts = 0

    def record_failure(self, error: Exception, now: float) -> None:
        """
        Note that there are no valid credentials.

        :raises CleanRoomsMLError: All attempts are used up.
        """
        if self._attempts == len(RENEWAL_PAUSES):
            problem = f"Credentials are still rejected after {self._attempts} refreshes in {sum(RENEWAL_PAUSES) / 60:.0f} minutes."
            raise CleanRoomsMLError(join_lines(problem, str(error))) from error
        self.ready_at = now + RENEWAL_PAUSES[self._attempts]
        self._attempts += 1


def needs_login(error: object) -> bool:
    """Whether an error of the service or of botocore says that credentials have expired or cannot be fetched."""
    from botocore.exceptions import CredentialRetrievalError, TokenRetrievalError

    if isinstance(error, (CredentialsUnavailableError, CredentialRetrievalError, TokenRetrievalError)):
        return True
    if isinstance(error, ServiceError):
        return error.code in EXPIRED_CREDENTIALS
    # A login, at STS for instance, may raise botocore's own ClientError.
    response = getattr(error, "response", None)
    return isinstance(response, dict) and response.get("Error", {}).get("Code") in EXPIRED_CREDENTIALS
