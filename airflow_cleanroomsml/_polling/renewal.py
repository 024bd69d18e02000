"""Credentials that are refused, or cannot be fetched, and when to ask for new ones."""

from __future__ import annotations

from airflow_cleanroomsml.exceptions import (
    EXPIRED_CREDENTIALS,
    CleanRoomsMLError,
    CredentialsUnavailableError,
    ServiceError,
    lines,
)

#: Seconds before each renewal: the first at once, for a session that has run out; all together 35 minutes, for somebody to mend a
#: connection in.
PAUSES = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, *([300.0] * 6))


class Renewal:
    """
    How often credentials were renewed in vain.

    ``ready`` is when they may be renewed, in seconds since 1970.
    """

    def __init__(self) -> None:
        self._tried = 0
        self.ready = 0.0

    def worked(self) -> None:
        """The credentials are good."""
        self._tried = 0

    def refused(self, error: Exception, now: float) -> None:
        """
        They are not.

        :raises CleanRoomsMLError: They were renewed often enough.
        """
        if self._tried == len(PAUSES):
            why = f"Credentials are still rejected after {self._tried} refreshes in {sum(PAUSES) / 60:.0f} minutes."
            raise CleanRoomsMLError(lines(why, str(error))) from error
        self.ready = now + PAUSES[self._tried]
        self._tried += 1


def expired(error: object) -> bool:
    """Whether an error of the service, or of botocore, means that credentials have to be fetched, again."""
    from botocore.exceptions import CredentialRetrievalError, TokenRetrievalError

    if isinstance(error, (CredentialsUnavailableError, CredentialRetrievalError, TokenRetrievalError)):
        return True
    if isinstance(error, ServiceError):
        return error.code in EXPIRED_CREDENTIALS
    response = getattr(error, "response", None)
    return isinstance(response, dict) and response.get("Error", {}).get("Code") in EXPIRED_CREDENTIALS
