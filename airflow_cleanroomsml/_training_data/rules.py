"""The rules for training data, seeds and their roles: one list, for the check before a job and for the emulator's jobs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

#: Pages of the AWS Clean Rooms user guide.
_TRAINING = "user guide, ml-training-data-requirements"
_SEED = "user guide, ml-seed-data-requirements"
_QUOTAS = "user guide, clean-rooms-ml-quotas"
_ROLES = "user guide, ml-roles"
_MODEL = "user guide, create-ml-model-create-model"
#: AWS does not document it; docs/assumptions.md has the emulator's assumptions.
_ASSUMED = "assumption"


class Severity(Enum):
    """Whether the job would fail."""

    ERROR = "error"
    WARNING = "warning"


class Rule(Enum):
    """
    A rule, identified by its name.

    :param severity: ERROR if the job would fail.
    :param problem: Template of the problem, for :meth:`str.format`.
    :param advice: Template of the advice.
    :param source: Where the rule is documented.
    """

    # Glue
    DATABASE_NOT_FOUND = (
        Severity.ERROR,
        "Glue database {target} does not exist",
        "create it, or use another one in the training dataset",
        _TRAINING,
    )
    TABLE_NOT_FOUND = (
        Severity.ERROR,
        "Glue table {target} does not exist",
        "create it, or use another one in the training dataset",
        _TRAINING,
    )
    GLUE_ACCESS_DENIED = (
        Severity.ERROR,
        "Access to Glue {target} was denied",
        "grant {action} to the role of the dataset",
        _ROLES,
    )
    GLUE_ERROR = (Severity.ERROR, "Glue rejected {action} for {target} ({code})", "try again later", _TRAINING)
    NO_PARTITIONS = (
        Severity.ERROR,
        "Glue table {table} is partitioned by {keys} but has no partitions",
        "add them with ALTER TABLE … ADD PARTITION or a crawler, because files outside of partitions are not read",
        _ASSUMED,
    )
    DEFAULT_DATABASE_MISSING = (
        Severity.ERROR,
        "There is no Glue database named default, and role {role} is not allowed to create it",
        "create an empty database named default, or grant the role glue:CreateDatabase on database/default",
        _MODEL,
    )
    DEFAULT_DATABASE_UNCERTAIN = (
        Severity.WARNING,
        "It is unknown whether a Glue database named default exists, or whether role {role} is allowed to create it",
        "create an empty database named default, or grant the role glue:CreateDatabase on database/default",
        _MODEL,
    )
    LOCATION_NOT_ON_S3 = (
        Severity.ERROR,
        "{owner} has the location '{location}', which is not on S3 (s3://bucket/prefix/)",
        "use data in files on S3, because views and tables in other data stores are not supported",
        _TRAINING,
    )
    FORMAT_NOT_SUPPORTED = (
        Severity.ERROR,
        "The format of Glue table {table} is not supported ({format})",
        "convert the data to Parquet, CSV or JSON lines",
        _TRAINING,
    )
    DELIMITER_NOT_SUPPORTED = (
        Severity.ERROR,
        "The delimiter of Glue table {table} is not supported ({delimiter})",
        "use a delimiter of one character",
        _ASSUMED,
    )

    # The schema
    COLUMN_REPEATED = (
        Severity.ERROR,
        "The schema contains column '{column}' {count} times",
        "list it once",
        _ASSUMED,
    )
    COLUMN_COUNT = (
        Severity.ERROR,
        "The schema has {count} columns of type {role}{names}; exactly one is required",
        "give exactly one column this type",
        _TRAINING,
    )
    COLUMN_MISSING = (
        Severity.ERROR,
        "Column '{column}' of the schema does not exist in Glue table {table}, which has the columns {columns}",
        "correct the schema of the training dataset, or add the column to the table and its files",
        _TRAINING,
    )
    COLUMN_TYPE = (
        Severity.ERROR,
        "Column '{column}' has type {type} in Glue table {table}; {role} requires {allowed}",
        "change the type in the table, and in the files if they differ",
        _TRAINING,
    )
    TOO_MANY_FEATURES = (
        Severity.ERROR,
        "The schema has {count} feature columns; at most {limit} are allowed",
        "remove some from the schema",
        _TRAINING,
    )

    # S3
    BUCKET_NOT_FOUND = (
        Severity.ERROR,
        "Bucket {bucket} does not exist",
        "create it, or correct {location}",
        _TRAINING,
    )
    BUCKET_IN_OTHER_REGION = (
        Severity.ERROR,
        "Bucket {bucket} is in {region}, but the job runs in {own}",
        "copy the data to a bucket in {own}",
        _TRAINING,
    )
    S3_ACCESS_DENIED = (
        Severity.ERROR,
        "Access to {location} was denied",
        "grant {action} to the role of the job, and check that no statement of the bucket policy denies it",
        _ROLES,
    )
    BUCKET_POLICY_DENIES = (
        Severity.ERROR,
        "The bucket policy denied access to {location}. {reason}",
        "exempt the role of the job from this statement",
        _ROLES,
    )
    S3_ERROR = (Severity.ERROR, "S3 rejected {action} for {location} ({code})", "try again later", _TRAINING)
    OBJECT_ARCHIVED = (
        Severity.ERROR,
        "{files} archived in S3 ({archive}) and cannot be read",
        "restore the data from the archive, or copy it to another storage class",
        "S3 API reference, GetObject",
    )
    OBJECT_NOT_FOUND = (Severity.ERROR, "{location} no longer exists", "write it again", _TRAINING)
    NO_TRAINING_FILES = (
        Severity.ERROR,
        "There are no files, or only empty ones, at {locations}",
        "add data, or correct the location of the Glue table",
        _TRAINING,
    )
    PARTITION_EMPTY = (
        Severity.ERROR,
        "Partitions of Glue table {table} without files, or with empty files only: {count:,} of {partitions:,}{names}",
        "write their files, or drop these partitions",
        _ASSUMED,
    )
    ZSTD_DECLARED = (
        Severity.ERROR,
        "Glue table {table} is Parquet compressed with Zstandard (ZSTD), according to {evidence}",
        "write the files with Snappy or GZIP, because ZSTD is not supported",
        _TRAINING,
    )
    ZSTD_COMPRESSION = (
        Severity.ERROR,
        "File {file} is Parquet compressed with Zstandard (ZSTD), which is not supported",
        "write it with Snappy or GZIP",
        _TRAINING,
    )
    MALFORMED_FILE = (
        Severity.ERROR,
        "File {file} cannot be read: {reason}",
        "correct the file, or the definition of the Glue table",
        _ASSUMED,
    )
    MALFORMED_FILES = (
        Severity.ERROR,
        "{count:,} more files cannot be read",
        "correct these files too, or the definition of the Glue table",
        _ASSUMED,
    )
    TOO_LARGE_TO_READ = (
        Severity.WARNING,
        "The data was not read: its files total {size}, and a worker reads at most {limit}",
        'count with statistics="athena"',
        "limit of this package",
    )

    # The data
    MISSING_VALUES = (
        Severity.ERROR,
        "{count:,} of {rows:,} interactions have no value in column '{column}' ({role}), which is required",
        "remove these interactions or fill in the values",
        _ASSUMED,
    )
    TIMESTAMP_NOT_EPOCH_SECONDS = (
        Severity.ERROR,
        "{count:,} of {rows:,} values of column '{column}' (TIMESTAMP) are not Unix epoch seconds; they look like {unit}",
        "{remedy}",
        _TRAINING,
    )
    INVALID_TRAINING_WINDOW = (
        Severity.ERROR,
        "The training window {window} must end after it starts",
        "set trainingDataEndTime later than trainingDataStartTime",
        _ASSUMED,
    )
    INSUFFICIENT_INTERACTIONS = (
        Severity.ERROR,
        "{count:,} interactions{scope}; at least {limit:,} are required",
        "{remedy}",
        _TRAINING,
    )
    INSUFFICIENT_USERS = (
        Severity.ERROR,
        "{count:,} users with at least {each} interactions{scope}; at least {limit:,} are required ({single:,} with fewer do not count)",
        "{remedy}",
        _TRAINING,
    )
    SINGLE_INTERACTIONS = (
        Severity.WARNING,
        "{count:,} of {users:,} users have fewer than {each} interactions{scope}",
        "supply more of their interactions if they matter, because the model is not trained on them and no audience includes them",
        _TRAINING,
    )
    DUPLICATE_INTERACTIONS = (
        Severity.WARNING,
        "{count:,} of {rows:,} interactions repeat another one: same user, item and time",
        "remove them unless they are real, because each one counts",
        _ASSUMED,
    )
    TOO_MANY_USERS = (
        Severity.WARNING,
        "{count:,} users; the {limit:,} most active ones are used",
        "leave out users who need not be in an audience",
        _QUOTAS,
    )
    TOO_MANY_INTERACTIONS = (
        Severity.WARNING,
        "{count:,} interactions{scope}; above {limit:,} the service takes a sample",
        "use a shorter training window",
        _TRAINING,
    )
    QUERY_FAILED = (
        Severity.ERROR,
        "Athena could not count the data: {reason}",
        "see query {query} in the Athena console (its message may quote data); the table or a file is likely to be malformed",
        _ASSUMED,
    )
    QUERY_INTERRUPTED = (
        Severity.ERROR,
        "Athena did not count the data: {reason}",
        "see query {query} in the Athena console (its message may quote data)",
        "Athena API reference, AthenaError",
    )

    # The role
    ROLE_NOT_FOUND = (Severity.ERROR, "Role {role} does not exist", "create it, or use another role", _ROLES)
    ROLE_NOT_ASSUMABLE = (
        Severity.ERROR,
        "The trust policy of role {role} does not let {service} assume it{reason}",
        "allow {service} to perform sts:AssumeRole in the trust policy; correct conditions that exclude it, and remove Deny statements",
        _ROLES,
    )
    ROLE_LACKS_PERMISSION = (
        Severity.ERROR,
        "Role {role} is not allowed to perform {actions} on {resource}",
        "allow these actions in a policy of the role",
        _ROLES,
    )

    # Seeds
    SEED_NOT_FOUND = (
        Severity.ERROR,
        "There is no seed at {location}: no object has this key or prefix",
        "write it, or correct the location",
        _SEED,
    )
    SEED_MALFORMED = (
        Severity.ERROR,
        'The seed must be JSON lines such as {{"user_id": "abc"}}. {details}',
        "write one object with a user_id per line, uncompressed and in UTF-8",
        _SEED,
    )
    SEED_EMPTY = (
        Severity.ERROR,
        "The seed at {location} is empty; at least {limit:,} unique user ids are required",
        "supply more user ids",
        _SEED,
    )
    SEED_TOO_SMALL = (
        Severity.ERROR,
        "Unique user ids in the seed: {count:,}; at least {limit:,} are required",
        "supply more user ids",
        _SEED,
    )
    SEED_TOO_LARGE = (
        Severity.ERROR,
        "Unique user ids in the seed: {count:,}; at most {limit:,} are allowed",
        "supply fewer user ids",
        _SEED,
    )
    SEED_CANNOT_MATCH = (
        Severity.ERROR,
        "Unique user ids in the seed: {count:,}; at least {limit:,} must match users of the training data (minMatchingSeedSize)",
        "supply more user ids",
        "API reference, CreateConfiguredAudienceModel",
    )
    SEED_REPEATS = (
        Severity.WARNING,
        "{count:,} of {lines:,} lines of the seed repeat a user id",
        "remove the repetitions if they are not intended; each id counts once",
        _ASSUMED,
    )

    # The check itself
    TABLE_NOT_READABLE = (
        Severity.ERROR,
        "{problem}, so nothing could be checked",
        "grant glue:GetDatabase, glue:GetTable and glue:GetPartitions to the role or user of the connection",
        "this package",
    )
    NOT_CHECKED = (Severity.WARNING, "{subject} could not be checked: {reason}", "{remedy}", "this package")

    def __init__(self, severity: Severity, problem: str, advice: str, source: str) -> None:
        self.severity = severity
        self.problem = problem
        self.advice = advice
        self.source = source

    def build(self, field: str, **values: Any) -> Finding:
        """
        Build a finding.

        :param field: What it is about: an argument, a member of the training dataset, or a column.
        :param values: Values for the templates: names and counts, never values of the data.
        """
        return Finding(self, field, self.problem.format(**values), self.advice.format(**values), self.severity)


#: What the caller may not do; the role of the job may be allowed to.
S3_DENIALS = frozenset((Rule.S3_ACCESS_DENIED, Rule.BUCKET_POLICY_DENIES))


@dataclass(frozen=True)
class Finding:
    """
    A rule that is not obeyed.

    :param rule: The rule.
    :param field: What it is about.
    :param problem: What is wrong.
    :param advice: What to do.
    :param severity: The rule's, unless the user wants only a warning.
    """

    rule: Rule
    field: str
    problem: str
    advice: str
    severity: Severity

    def describe(self) -> dict[str, str]:
        """Return the finding as JSON values."""
        return {
            "rule": self.rule.name,
            "severity": self.severity.value,
            "field": self.field,
            "problem": self.problem,
            "advice": self.advice,
            "source": self.rule.source,
        }

    def __str__(self) -> str:
        """Return problem and advice as sentences."""
        return f"{self.problem.removesuffix('.')}. {self.advice[0].upper()}{self.advice[1:]}."


class InvalidDataError(Exception):
    """
    Data that a job cannot use.

    :param findings: Findings, of which at least one is an error.
    """

    def __init__(self, *findings: Finding) -> None:
        super().__init__(*map(str, findings))
        self.findings = findings


class Findings:
    """Findings, collected so that one message reports all of them."""

    def __init__(self) -> None:
        # A dict, because a set would lose the order of the checks, in which the findings are reported.
        self._findings: dict[Finding, None] = {}

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._findings)

    def add(self, *findings: Finding) -> None:
        """Add findings; a thousand partitions of a table tend to have the same one, which is kept once."""
        self._findings.update(dict.fromkeys(findings))

    @property
    def errors(self) -> list[Finding]:
        """The findings that are errors."""
        return [finding for finding in self if finding.severity is Severity.ERROR]

    def raise_for_errors(self) -> None:
        """
        Raise if one of the findings is an error.

        :raises InvalidDataError: With the errors.
        """
        if errors := self.errors:
            raise InvalidDataError(*errors)


def withhold_ids(findings: Iterable[Finding], schema: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """
    Mask the ids of users and items in the findings: names of partitions can contain them, such as ``user_id=…``.

    :param schema: ``schema`` of a dataset.
    """
    ids = [column["columnName"] for column in schema if {"USER_ID", "ITEM_ID"} & set(column.get("columnTypes") or ())]
    if not ids:
        return list(findings)
    # A value may contain blanks; a slash ends it, unless it is the last of the location.
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, ids))})=(?:[^/\n]+(?=/)|\S+)", re.IGNORECASE)
    return [
        replace(finding, problem=pattern.sub(r"\1=***", finding.problem), advice=pattern.sub(r"\1=***", finding.advice))
        for finding in findings
    ]


def lower_severity(findings: Iterable[Finding], rules: Collection[str]) -> list[Finding]:
    """
    Return the findings, with those of some rules as warnings.

    :param rules: Names of these rules.
    """
    return [
        replace(finding, severity=Severity.WARNING) if finding.rule.name in rules else finding for finding in findings
    ]
