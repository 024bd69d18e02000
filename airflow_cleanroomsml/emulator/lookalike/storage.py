"""Objects in S3, and what S3's refusals mean for a job."""

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
#: What S3 says where the policy of a bucket denies an action.
_BY_POLICY = "explicit deny in a resource-based policy"
#: HeadBucket answers without a body, so that its error code is the bare status.
_NO_BUCKET = {"NoSuchBucket", "404"}


@dataclass(frozen=True)
class Location:
    """
    A bucket and a key in it, or the beginning of keys.

    :param bucket: Name of the bucket.
    :param key: The key, without a slash before it; empty for the whole bucket.
    """

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Location:
        """
        Read an S3 URI; Hadoop's ``s3a`` and ``s3n`` mean the same.

        :raises JobFailure: When it is something else.
        """
        parts = urlsplit(uri, allow_fragments=False)
        if parts.scheme not in {"s3", "s3a", "s3n"} or not parts.netloc:
            raise JobFailure(StatusCode.LOCATION_NOT_ON_S3, f"'{uri}' is no S3 location (s3://bucket/prefix/).")
        # a question mark is an ordinary character of a key
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.netloc, parts.path.lstrip("/") + query)

    def __str__(self) -> str:
        """Return the S3 URI."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class StoredFile:
    """
    An object that holds data.

    :param location: Where it is.
    :param size: Its size in bytes.
    """

    location: Location
    size: int


def require_same_region(s3: S3Client, location: Location) -> None:
    """
    Check that data is in the region of the job (user guide, "Training data requirements").

    :raises JobFailure: When it is in another, or the bucket is missing or closed.
    """
    with _explained(location):
        region = s3.head_bucket(Bucket=location.bucket).get("BucketRegion")
    ours = s3.meta.region_name
    if region and region != ours:
        text = f"Bucket {location.bucket} is in {region}, the job in {ours}: copy the data to one in {ours}."
        raise JobFailure(StatusCode.BUCKET_IN_OTHER_REGION, text)


def files(s3: S3Client, location: Location) -> list[StoredFile]:
    """
    List the object of exactly this key or, where none has it, those below it, in order of their keys.

    A location ``…/data`` does not reach ``…/data-old/``. Below a location, what Hive and with it Glue passes
    over is left out: folder markers, and names that begin with ``_`` or ``.`` at any depth.

    :raises JobFailure: When the bucket is missing or closed.
    """
    folder = location.key if location.key.endswith("/") or not location.key else f"{location.key}/"
    below = [file for file in _listing(s3, location, folder) if _visible(file.location.key[len(folder) :])]
    if below or folder == location.key:
        return below
    # of the keys that begin with the location's, its own comes first
    first = next(_listing(s3, location, location.key), None)
    return [first] if first and first.location == location else []


def read(s3: S3Client, location: Location) -> bytes:
    """
    Return the content of an object.

    :raises JobFailure: When it is missing or closed.
    """
    with _explained(location):
        body: bytes = s3.get_object(Bucket=location.bucket, Key=location.key)["Body"].read()
        return body


def write(s3: S3Client, location: Location, body: bytes) -> None:
    """
    Write an object.

    :raises JobFailure: When the bucket is missing or closed.
    """
    with _explained(location):
        s3.put_object(Bucket=location.bucket, Key=location.key, Body=body)


def _listing(s3: S3Client, location: Location, prefix: str) -> Iterator[StoredFile]:
    with _explained(location):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=location.bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield StoredFile(Location(location.bucket, entry["Key"]), entry["Size"])


def _visible(path: str) -> bool:
    if not path or path.endswith(("/", "_$folder$")):
        return False
    return not any(part.startswith(("_", ".")) for part in path.split("/"))


@contextmanager
def _explained(location: Location) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _failure(error, location) from error


def _failure(error: ClientError, location: Location) -> JobFailure:
    code = error.response["Error"]["Code"]
    if error.response["ResponseMetadata"]["HTTPStatusCode"] == _FORBIDDEN:
        action = _PERMISSIONS.get(error.operation_name, error.operation_name)
        reason = error.response["Error"].get("Message", "")
        if _BY_POLICY in reason:
            text = f"Access to {location} was denied by the policy of the bucket. {reason}."
        else:
            text = (
                f"Access to {location} was denied: the job's role needs {action} there, "
                "and no statement of the bucket policy may deny it."
            )
        return JobFailure(StatusCode.ACCESS_DENIED, text)
    if code in _NO_BUCKET:
        text = f"Bucket {location.bucket} does not exist: create it or correct {location}."
        return JobFailure(StatusCode.BUCKET_NOT_FOUND, text)
    if code == "NoSuchKey":
        return JobFailure(StatusCode.OBJECT_NOT_FOUND, f"{location} does not exist (any more).")
    return JobFailure(StatusCode.STORAGE_ERROR, f"S3 refused {error.operation_name} of {location}: {error}")
