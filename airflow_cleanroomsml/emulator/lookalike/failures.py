"""Failures of jobs, with a status code and a message."""

from __future__ import annotations

from enum import Enum


class StatusCode(Enum):
    """
    Values of ``statusDetails.statusCode``.

    AWS does not publish its values. These are the emulator's own, so code that runs against AWS must not branch on them.
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
    A failed job, whose resource becomes CREATE_FAILED.

    :param code: Status code; a fault may use any text.
    :param message: Reason and remedy.
    """

    def __init__(self, code: StatusCode | str, message: str) -> None:
        super().__init__(code, message)
        self.status_code = code.value if isinstance(code, StatusCode) else code
        self.message = message

    def __str__(self) -> str:
        """Return code and message."""
        return f"{self.status_code}: {self.message}"


class Problems:
    """Problems in one stage of a job, collected so that a single message reports all of them."""

    def __init__(self) -> None:
        self._problems: list[tuple[StatusCode, str]] = []

    def add(self, code: StatusCode, text: str) -> None:
        """
        Add a problem.

        :param code: Status code; the job fails with the code of its first problem.
        :param text: Problem and remedy, in one sentence.
        """
        # A thousand partitions of a table tend to have the same problem.
        if (code, text) not in self._problems:
            self._problems.append((code, text))

    def raise_if_any(self) -> None:
        """
        Fail the job if there are problems.

        :raises JobFailure: There are problems.
        """
        if not self._problems:
            return
        texts = [text for _, text in self._problems]
        if len(texts) > 1:
            texts = [f"{len(texts)} problems:", *(f"({n}) {text}" for n, text in enumerate(texts, 1))]
        raise JobFailure(self._problems[0][0], " ".join(texts))
