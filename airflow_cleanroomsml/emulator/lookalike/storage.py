"""Reads and writes objects in S3, and translates S3's errors to job failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from airflow_cleanroomsml.emulator.lookalike.clients import S3Client
from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, StatusCode

_PERMISSIONS = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
}
_FORBIDDEN = 403
#: Part of S3's message when a bucket policy denies an action (S3 user guide, troubleshoot-403-errors).
_BY_POLICY = "explicit deny in a resource-based policy"
#: The response of HeadBucket has no body, so botocore uses the status as the error code.
_NO_BUCKET = {"NoSuchBucket", "404"}


@dataclass(frozen=True)
class Location:
    """
    An object or a prefix in S3.

    :param bucket: Name of the bucket.
    :param key: Key or prefix, without a leading slash; empty for the whole bucket.
    """

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Location:
        """
        Parse an S3 URI; Hadoop's schemes ``s3a`` and ``s3n`` mean the same.

        :raises JobFailure: The text is not an S3 URI.
        """
        parts = urlsplit(uri, allow_fragments=False)
        if parts.scheme not in {"s3", "s3a", "s3n"} or not parts.netloc:
            text = f"'{uri}' is not an S3 location (s3://bucket/prefix/)."
            raise JobFailure(StatusCode.LOCATION_NOT_ON_S3, text)
        # A question mark is an ordinary character in a key.
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.netloc, parts.path.lstrip("/") + query)

    def __str__(self) -> str:
        """Return the S3 URI."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class StoredFile:
    """
    An object with data.

    :param location: Its location.
    :param size: Its size in bytes.
    """

    location: Location
    size: int


def require_same_region(s3: S3Client, location: Location) -> None:
    """
    Check that data is in the region of the job (user guide, "Training data requirements").

    :raises JobFailure: It is in another region, or the bucket does not exist or may not be read.
    """
    with _translate_errors(location):
        bucket_region = s3.head_bucket(Bucket=location.bucket).get("BucketRegion")
    region = s3.meta.region_name
    if bucket_region and bucket_region != region:
        text = (
            f"Bucket {location.bucket} is in {bucket_region}, but the job runs in {region}: "
            f"copy the data to a bucket in {region}."
        )
        raise JobFailure(StatusCode.BUCKET_IN_OTHER_REGION, text)


def list_files(s3: S3Client, location: Location) -> list[StoredFile]:
    """
    List the files below a location, in order of their keys, or else the object with exactly this key.

    The location ``…/data`` does not include ``…/data-old/``. Files that Hive, and therefore Glue, ignores are left out: folder markers,
    and paths with a component that starts with ``_`` or ``.``.

    :raises JobFailure: The bucket does not exist or may not be read.
    """
    folder = location.key if location.key.endswith("/") or not location.key else f"{location.key}/"
    below = [file for file in _list_objects(s3, location, folder) if _is_visible(file.location.key[len(folder) :])]
    if below or folder == location.key:
        return below
    # Keys are listed in order, so the shortest of those with the same prefix comes first.
    first = next(_list_objects(s3, location, location.key), None)
    return [first] if first and first.location == location else []


def read(s3: S3Client, location: Location) -> bytes:
    """
    Return the content of an object.

    :raises JobFailure: It does not exist or may not be read.
    """
    with _translate_errors(location):
        body: bytes = s3.get_object(Bucket=location.bucket, Key=location.key)["Body"].read()
        return body


def write(s3: S3Client, location: Location, body: bytes) -> None:
    """
    Write an object.

    :raises JobFailure: The bucket does not exist or may not be written to.
    """
    with _translate_errors(location):
        s3.put_object(Bucket=location.bucket, Key=location.key, Body=body)


def _list_objects(s3: S3Client, location: Location, prefix: str) -> Iterator[StoredFile]:
    with _translate_errors(location):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=location.bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield StoredFile(Location(location.bucket, entry["Key"]), entry["Size"])


def _is_visible(path: str) -> bool:
    if not path or path.endswith(("/", "_$folder$")):
        return False
    return not any(part.startswith(("_", ".")) for part in path.split("/"))


@contextmanager
def _translate_errors(location: Location) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _build_failure(error, location) from error


def _build_failure(error: ClientError, location: Location) -> JobFailure:
    code = error.response["Error"]["Code"]
    if error.response["ResponseMetadata"]["HTTPStatusCode"] == _FORBIDDEN:
        action = _PERMISSIONS.get(error.operation_name, error.operation_name)
        reason = error.response["Error"].get("Message", "")
        if _BY_POLICY in reason:
            text = f"The bucket policy denied access to {location}. {reason}."
        else:
            text = (
                f"Access to {location} was denied: the role of the job needs {action}, "
                "and no statement of the bucket policy may deny it."
            )
        return JobFailure(StatusCode.ACCESS_DENIED, text)
    if code in _NO_BUCKET:
        text = f"Bucket {location.bucket} does not exist: create it, or correct {location}."
        return JobFailure(StatusCode.BUCKET_NOT_FOUND, text)
    if code == "NoSuchKey":
        # The object was listed, so it has been deleted since.
        return JobFailure(StatusCode.OBJECT_NOT_FOUND, f"{location} no longer exists.")
    return JobFailure(StatusCode.STORAGE_ERROR, f"S3 rejected {error.operation_name} for {location}: {error}")
