"""How a job fails: a status code for programs, a message for people."""

from __future__ import annotations

from enum import Enum


class StatusCode(Enum):
    """
    Why a job failed.

    AWS publishes no list of the values of ``statusDetails.statusCode``: these are this emulator's own, and
    nothing that runs against the real service may branch on them.
    """

    INTERNAL_ERROR = "INTERNAL_ERROR"
    ACCESS_DENIED = "ACCESS_DENIED"
    STORAGE_ERROR = "STORAGE_ERROR"
    BUCKET_NOT_FOUND = "BUCKET_NOT_FOUND"
    BUCKET_IN_OTHER_REGION = "BUCKET_IN_OTHER_REGION"
    OBJECT_NOT_FOUND = "OBJECT_NOT_FOUND"
    DATABASE_NOT_FOUND = "DATABASE_NOT_FOUND"
    TABLE_NOT_FOUND = "TABLE_NOT_FOUND"
    LOCATION_NOT_ON_S3 = "LOCATION_NOT_ON_S3"
    FORMAT_NOT_SUPPORTED = "FORMAT_NOT_SUPPORTED"
    NO_TRAINING_FILES = "NO_TRAINING_FILES"
    SCHEMA_MISMATCH = "SCHEMA_MISMATCH"
    TOO_MANY_FEATURES = "TOO_MANY_FEATURES"
    MALFORMED_FILE = "MALFORMED_FILE"
    MISSING_VALUES = "MISSING_VALUES"
    TIMESTAMP_NOT_EPOCH_SECONDS = "TIMESTAMP_NOT_EPOCH_SECONDS"
    INVALID_TRAINING_WINDOW = "INVALID_TRAINING_WINDOW"
    INSUFFICIENT_INTERACTIONS = "INSUFFICIENT_INTERACTIONS"
    INSUFFICIENT_USERS = "INSUFFICIENT_USERS"
    SEED_EMPTY = "SEED_EMPTY"
    SEED_MALFORMED = "SEED_MALFORMED"
    SEED_TOO_SMALL = "SEED_TOO_SMALL"
    SEED_TOO_LARGE = "SEED_TOO_LARGE"
    INSUFFICIENT_MATCHING_SEED = "INSUFFICIENT_MATCHING_SEED"
    AUDIENCE_SIZE_TOO_LARGE = "AUDIENCE_SIZE_TOO_LARGE"
    AUDIENCE_SIZE_NOT_CONFIGURED = "AUDIENCE_SIZE_NOT_CONFIGURED"
    AUDIENCE_TOO_SMALL_TO_EXPORT = "AUDIENCE_TOO_SMALL_TO_EXPORT"
    QUERY_FAILED = "QUERY_FAILED"
    QUERY_CANCELLED = "QUERY_CANCELLED"


class JobFailure(Exception):
    """
    A job that cannot end well, whatever is tried: its resource becomes CREATE_FAILED.

    :param code: Why, for programs; a test may order any text.
    :param message: Why, and what to do about it, for people.
    """

    def __init__(self, code: StatusCode | str, message: str) -> None:
        super().__init__(code, message)
        self.status_code = code.value if isinstance(code, StatusCode) else code
        self.message = message

    def __str__(self) -> str:
        """Return code and message, as a log shows them."""
        return f"{self.status_code}: {self.message}"


class Problems:
    """What is wrong at one stage of a job, gathered so that one message tells all of it."""

    def __init__(self) -> None:
        self._found: list[tuple[StatusCode, str]] = []

    def add(self, code: StatusCode, text: str) -> None:
        """
        Note a problem.

        :param code: Why the job fails; of several the first one noted is the job's.
        :param text: What is wrong and what to do, a sentence.
        """
        # a table's partitions tend to have the same problem a thousand times
        if (code, text) not in self._found:
            self._found.append((code, text))

    def raise_if_any(self) -> None:
        """
        End the stage.

        :raises JobFailure: When a problem was noted.
        """
        if not self._found:
            return
        texts = [text for _, text in self._found]
        if len(texts) > 1:
            texts = [f"{len(texts)} problems:", *(f"({n}) {text}" for n, text in enumerate(texts, 1))]
        raise JobFailure(self._found[0][0], " ".join(texts))
