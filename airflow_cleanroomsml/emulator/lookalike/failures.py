"""Failures of jobs, with a status code and a message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum

from airflow_cleanroomsml._training_data.rules import InvalidDataError, Rule


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
    OBJECT_ARCHIVED = "OBJECT_ARCHIVED"
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


#: Status codes of rules; of others, the status code has the name of the rule.
_CODES = {
    Rule.GLUE_ACCESS_DENIED: StatusCode.ACCESS_DENIED,
    Rule.S3_ACCESS_DENIED: StatusCode.ACCESS_DENIED,
    Rule.BUCKET_POLICY_DENIES: StatusCode.ACCESS_DENIED,
    Rule.ROLE_NOT_FOUND: StatusCode.ACCESS_DENIED,
    Rule.ROLE_NOT_ASSUMABLE: StatusCode.ACCESS_DENIED,
    Rule.ROLE_LACKS_PERMISSION: StatusCode.ACCESS_DENIED,
    Rule.DEFAULT_DATABASE_MISSING: StatusCode.ACCESS_DENIED,
    Rule.GLUE_ERROR: StatusCode.STORAGE_ERROR,
    Rule.S3_ERROR: StatusCode.STORAGE_ERROR,
    Rule.NO_PARTITIONS: StatusCode.NO_TRAINING_FILES,
    Rule.PARTITION_EMPTY: StatusCode.NO_TRAINING_FILES,
    Rule.DELIMITER_NOT_SUPPORTED: StatusCode.FORMAT_NOT_SUPPORTED,
    Rule.COLUMN_REPEATED: StatusCode.SCHEMA_MISMATCH,
    Rule.COLUMN_COUNT: StatusCode.SCHEMA_MISMATCH,
    Rule.COLUMN_MISSING: StatusCode.SCHEMA_MISMATCH,
    Rule.COLUMN_TYPE: StatusCode.SCHEMA_MISMATCH,
    Rule.ZSTD_COMPRESSION: StatusCode.MALFORMED_FILE,
    Rule.MALFORMED_FILES: StatusCode.MALFORMED_FILE,
    Rule.SEED_NOT_FOUND: StatusCode.OBJECT_NOT_FOUND,
}


@contextmanager
def translate_findings() -> Iterator[None]:
    """
    Fail the job if its data cannot be used.

    :raises JobFailure: With the code of the first finding; the message has all of them.
    """
    try:
        yield
    except InvalidDataError as error:
        text = join_problems([str(finding) for finding in error.findings])
        raise JobFailure(get_status_code(error.findings[0].rule), text) from error


def join_problems(texts: Sequence[str]) -> str:
    """Join the texts of all problems to one message, numbered if there are several."""
    if len(texts) == 1:
        return texts[0]
    return " ".join([f"{len(texts)} problems:", *(f"({n}) {text}" for n, text in enumerate(texts, 1))])


def get_status_code(rule: Rule) -> StatusCode:
    """Return the status code of a job that a rule fails."""
    return _CODES.get(rule) or StatusCode[rule.name]
