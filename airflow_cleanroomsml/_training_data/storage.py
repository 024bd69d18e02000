"""Reads and writes objects in S3, and translates S3's errors to job failures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from airflow_cleanroomsml._training_data.clients import S3Client
from airflow_cleanroomsml._training_data.rules import Finding, InvalidDataError, Rule

_PERMISSIONS = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
}
_FORBIDDEN = 403
#: Storage classes whose objects have to be restored first (S3 user guide, archived-objects). A listing does not show the archive tiers of
#: S3 Intelligent-Tiering.
_ARCHIVES = frozenset(("GLACIER", "DEEP_ARCHIVE"))
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
    def parse(cls, uri: str, owner: str) -> Location:
        """
        Parse an S3 URI; Hadoop's schemes ``s3a`` and ``s3n`` mean the same.

        :param owner: What has the location, for the finding.
        :raises InvalidDataError: The text is not an S3 URI.
        """
        # Not by urlsplit(): question marks, number signs, brackets and tabs are ordinary characters of a key.
        scheme, _, path = uri.partition("://")
        bucket, _, key = path.partition("/")
        if scheme.lower() not in {"s3", "s3a", "s3n"} or not bucket:
            raise InvalidDataError(Rule.LOCATION_NOT_ON_S3.build("location", owner=owner, location=uri))
        return cls(bucket, key.lstrip("/"))

    def __str__(self) -> str:
        """Return the S3 URI."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class StoredFile:
    """
    An object with data.

    :param location: Its location.
    :param size: Its size in bytes.
    :param archive: Storage class of an archive from which it has to be restored before it can be read; empty if it can be read.
    """

    location: Location
    size: int
    archive: str = ""


def require_same_region(s3: S3Client, location: Location) -> None:
    """
    Check that data is in the region of the job (user guide, "Training data requirements").

    :raises InvalidDataError: It is in another region, or the bucket does not exist or may not be read.
    """
    with _translate_errors(location):
        bucket_region = s3.head_bucket(Bucket=location.bucket).get("BucketRegion")
    region = s3.meta.region_name
    if bucket_region and bucket_region != region:
        values = {"bucket": location.bucket, "region": bucket_region, "own": region}
        raise InvalidDataError(Rule.BUCKET_IN_OTHER_REGION.build("location", **values))


def list_files(s3: S3Client, location: Location, *, max_bytes: float = math.inf) -> list[StoredFile]:
    """
    List the files below a location, in order of their keys, or else the object with exactly this key.

    The location ``…/data`` does not include ``…/data-old/``. Files that Hive, and therefore Glue, ignores are left out: folder markers,
    and paths with a component that starts with ``_`` or ``.``.

    :param max_bytes: The listing ends with the file that exceeds this size of all files, so that a whole bucket is not listed in vain.
    :raises InvalidDataError: The bucket does not exist or may not be read.
    """
    folder = location.key if location.key.endswith("/") or not location.key else f"{location.key}/"
    below: list[StoredFile] = []
    size = 0
    for file in _list_objects(s3, location, folder):
        if _is_visible(file.location.key[len(folder) :]):
            below.append(file)
            size += file.size
        if size > max_bytes:
            break
    if below or folder == location.key:
        return below
    # Keys are listed in order, so the shortest of those with the same prefix comes first.
    first = next(_list_objects(s3, location, location.key), None)
    return [first] if first and first.location == location else []


def find_archived(s3: S3Client, files: Iterable[StoredFile]) -> Finding | None:
    """
    Find files that are in an archive.

    :param files: Files from :func:`list_files`.
    :return: None if there are none.
    """
    archived = [file for file in files if file.archive]
    # A service that is like S3 may not show in its listing that an object was restored.
    if not archived or _is_restored(s3, archived[0].location):
        return None
    return _build_archived([file.location for file in archived], ", ".join(sorted({file.archive for file in archived})))


def read(s3: S3Client, location: Location) -> bytes:
    """
    Return the content of an object.

    :raises InvalidDataError: It does not exist or may not be read.
    """
    with _translate_errors(location):
        body: bytes = s3.get_object(Bucket=location.bucket, Key=location.key)["Body"].read()
        return body


def write(s3: S3Client, location: Location, body: bytes) -> None:
    """
    Write an object.

    :raises InvalidDataError: The bucket does not exist or may not be written to.
    """
    with _translate_errors(location):
        s3.put_object(Bucket=location.bucket, Key=location.key, Body=body)


def _list_objects(s3: S3Client, location: Location, prefix: str) -> Iterator[StoredFile]:
    with _translate_errors(location):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=location.bucket, Prefix=prefix, OptionalObjectAttributes=["RestoreStatus"]
        )
        for page in pages:
            for entry in page.get("Contents", ()):
                yield StoredFile(Location(location.bucket, entry["Key"]), entry["Size"], _find_archive(entry))


def _find_archive(entry: Mapping[str, Any]) -> str:
    """Return the storage class of an entry of a listing that has to be restored; empty if it can be read."""
    # "populated only if the object has already been restored" (S3 API reference, RestoreStatus)
    is_restored = (entry.get("RestoreStatus") or {}).get("RestoreExpiryDate") is not None
    storage_class = str(entry.get("StorageClass", ""))
    return storage_class if storage_class in _ARCHIVES and not is_restored else ""


def _is_restored(s3: S3Client, location: Location) -> bool:
    try:
        restore = s3.head_object(Bucket=location.bucket, Key=location.key).get("Restore", "")
    except ClientError:
        # Without permission to look at it, the listing counts.
        return False
    return 'ongoing-request="false"' in restore


def _build_archived(locations: Sequence[Location], archive: str) -> Finding:
    count = len(locations)
    files = f"{locations[0]} is" if count == 1 else f"{count:,} files, the first of which is {locations[0]}, are"
    return Rule.OBJECT_ARCHIVED.build("location", files=files, archive=archive)


def _is_visible(path: str) -> bool:
    if not path or path.endswith(("/", "_$folder$")):
        return False
    return not any(part.startswith(("_", ".")) for part in path.split("/"))


@contextmanager
def _translate_errors(location: Location) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise InvalidDataError(_build_finding(error, location)) from error
    except ParamValidationError as error:
        # No bucket can have this name, so boto3 sends nothing.
        finding = Rule.BUCKET_NOT_FOUND.build("location", bucket=location.bucket, location=location)
        raise InvalidDataError(finding) from error


def _build_finding(error: ClientError, location: Location) -> Finding:
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    action = _PERMISSIONS.get(error.operation_name, error.operation_name)
    if code == "InvalidObjectState":
        # Its status is that of a missing permission (S3 API reference, GetObject).
        tier = error.response.get("AccessTier") or error.response.get("StorageClass") or "unknown storage class"
        return _build_archived([location], str(tier))
    if status == _FORBIDDEN:
        reason = error.response["Error"].get("Message", "")
        if _BY_POLICY in reason:
            return Rule.BUCKET_POLICY_DENIES.build("location", location=location, reason=reason)
        return Rule.S3_ACCESS_DENIED.build("location", location=location, action=action)
    if code in _NO_BUCKET:
        return Rule.BUCKET_NOT_FOUND.build("location", bucket=location.bucket, location=location)
    if code == "NoSuchKey":
        # The object was listed, so it has been deleted since.
        return Rule.OBJECT_NOT_FOUND.build("location", location=location)
    return Rule.S3_ERROR.build("location", location=location, action=action, code=code)
