"""One of the accounts of a test."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml.testing import table, table_rows
from airflow_cleanroomsml.testing.admin_api import AdminApi
from airflow_cleanroomsml.testing.environment import SIGNING_KEY
from airflow_cleanroomsml.testing.faults import Faults

if TYPE_CHECKING:
    from boto3.session import Session


class ClientFactory:
    """
    Builds the clients of all accounts from one boto3 session, so that botocore's data files are read once.

    :param endpoint_url: URL of the emulator.
    """

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        # "Session objects are not thread safe" (boto3 guide, Session).
        self._lock = threading.Lock()
        self._session: Any = None

    def build(self, service: str, account_id: str, region: str) -> Any:
        """Build a client with the credentials of an account."""
        from boto3.session import Session
        from botocore.config import Config

        with self._lock:
            self._session = self._session or Session()
            return self._session.client(
                service,
                region_name=region,
                aws_access_key_id=account_id,
                aws_secret_access_key=SIGNING_KEY,
                endpoint_url=self._endpoint_url,
                # A host name like bucket.127.0.0.1 cannot be resolved, and a proxy cannot reach this machine.
                config=Config(s3={"addressing_style": "path"}, proxies={}),
            )


class Account:
    """
    An account in the emulator: its clients, its data in S3 and Glue, and its faults.

    :param account_id: Twelve digits.
    :param region: AWS region.
    :param admin_api: Admin API of the emulator.
    :param clients: Builds the account's clients.
    """

    def __init__(self, account_id: str, region: str, admin_api: AdminApi, clients: ClientFactory) -> None:
        if not (isinstance(account_id, str) and re.fullmatch("[0-9]{12}", account_id)):
            raise ValueError(f"account_id is {account_id!r}; must be 12 digits, as a string")
        self.id = account_id
        self.region = region
        self._admin_api = admin_api
        #: Faults of this account's calls.
        self.faults = Faults(self._admin_api, account_id)
        self._factory = clients
        self._clients: dict[str, Any] = {}
        self._session: Session | None = None

    @property
    def bucket(self) -> str:
        """Name of the bucket for data whose location a test does not choose."""
        return f"cleanroomsml-{self.id}"

    @property
    def calls(self) -> list[str]:
        """Operations of Clean Rooms ML and Clean Rooms that the account has called in this test, in order, retries included."""
        return [entry["operation"] for entry in self.list_requests()]

    def list_requests(self) -> list[dict[str, Any]]:
        """Return the requests of the account in this test: ``time``, ``operation``, and ``status`` of the response."""
        requests: list[dict[str, Any]] = self._admin_api.call("GET", f"/_emulator/requests?account={self.id}")[
            "requests"
        ]
        return requests

    def build_role_arn(self, name: str = "cleanrooms-ml") -> str:
        """Return the ARN of a role of this account, which need not exist."""
        partition = self.session.get_partition_for_region(self.region)
        return f"arn:{partition}:iam::{self.id}:role/{name}"

    @property
    def session(self) -> Session:
        """A boto3 session with the account's credentials. Its clients need ``endpoint_url``, or the variables of the fixture."""
        if self._session is None:
            from boto3.session import Session

            self._session = Session(self.id, SIGNING_KEY, region_name=self.region)
        return self._session

    def client(self, service: str) -> Any:
        """
        Return the account's boto3 client of a service: ``cleanroomsml``, ``cleanrooms``, ``s3``, ``glue`` or another one of moto.

        All tests share it, because building one takes as long as several calls.
        """
        if service not in self._clients:
            self._clients[service] = self._factory.build(service, self.id, self.region)
        return self._clients[service]

    def limit_permissions(self, actions: Iterable[str]) -> None:
        """
        Allow the account some IAM actions of Clean Rooms ML and Clean Rooms only, until the end of the test.

        :param actions: For instance ``cleanrooms-ml:Get*``.
        """
        names = _list_entries("actions", actions)
        self._admin_api.call("POST", "/_emulator/permissions", {"account": self.id, "actions": names})

    def put_object(self, uri: str, body: bytes | str) -> str:
        """
        Write an object, and create its bucket if there is none.

        :param uri: ``s3://bucket/key``.
        :return: The URI.
        """
        bucket, key = _split_uri(uri)
        if not key or key.endswith("/"):
            raise ValueError(f"{uri!r} does not name an object: its key must not be empty or end with '/'")
        self._create_bucket(bucket)
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=body.encode() if isinstance(body, str) else body)
        return uri

    def put_seed(self, user_ids: Iterable[str | int], uri: str | None = None) -> dict[str, str]:
        """
        Write a seed as JSON lines.

        :param user_ids: Ids of the users, as strings or integers.
        :param uri: Where to write it, for instance the URI that the Dag under test reads; by default a new object.
        :return: The member ``dataSource`` of ``seedAudience``: ``{"s3Uri": …}``.
        :raises ValueError: ``user_ids`` is a single string, or contains something other than strings and integers.
        """
        lines = "".join(json.dumps({"user_id": user_id}) + "\n" for user_id in table_rows.check_user_ids(user_ids))
        return {"s3Uri": self.put_object(uri or f"s3://{self.bucket}/seeds/{uuid.uuid4()}.jsonl", lines)}

    def put_table(
        self,
        name: str,
        data: table.TableData,
        *,
        database: str = "lookalike",
        location: str | None = None,
        file_format: str | None = None,
        types: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """
        Create a Glue table and its file; a table of the same name, and the files at the same location, are replaced.

        :param name: Name of the table.
        :param data: Rows as mappings with the same keys, the text of a CSV file with a header, the ``pathlib.Path`` of one, a pandas
            DataFrame or a pyarrow Table. At least one row is required.
        :param database: Name of the database, which is created if it does not exist.
        :param location: Folder, ``s3://bucket/path/``; by default a separate one.
        :param file_format: ``csv`` or ``parquet``; by default Parquet for pandas and pyarrow, otherwise CSV.
        :param types: Glue types of columns, for instance ``{"value": "int"}``; those of all others follow from their values.
        :return: The member ``dataSource`` of a training dataset's ``inputConfig``: ``{"glueDataSource": …}``.
        :raises ValueError: The data is not a table, or the format, a column or a type does not exist; the message names argument and row.
        """
        encoded = table.encode(data, file_format, types)
        location = (location or f"s3://{self.bucket}/{database}/{name}").rstrip("/") + "/"
        self._delete_objects(location)
        self.put_object(f"{location}part-0.{encoded.file_format}", encoded.body)
        glue = self.client("glue")
        table_input = encoded.build_table_input(name, location)
        with suppress(glue.exceptions.AlreadyExistsException):
            glue.create_database(DatabaseInput={"Name": database})
        try:
            glue.create_table(DatabaseName=database, TableInput=table_input)
        except glue.exceptions.AlreadyExistsException:
            glue.update_table(DatabaseName=database, TableInput=table_input)
        return {"glueDataSource": {"databaseName": database, "tableName": name}}

    def _create_bucket(self, bucket: str) -> None:
        s3 = self.client("s3")
        # S3 requires the region of the bucket here, but rejects us-east-1, which is its default (API reference, CreateBucket).
        location = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        # us-east-1 does not raise it: there the bucket is kept, with its objects.
        with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": location} if location else {}))

    def _delete_objects(self, location: str) -> None:
        bucket, prefix = _split_uri(location)
        self._create_bucket(bucket)
        s3 = self.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                s3.delete_object(Bucket=bucket, Key=entry["Key"])


def _list_entries(argument: str, entries: Iterable[str]) -> list[str]:
    # A string is an iterable of its letters.
    if isinstance(entries, str):
        raise ValueError(f"{argument} is the string {entries!r}; must be a list of strings")
    return list(entries)


def _split_uri(uri: str) -> tuple[str, str]:
    # Not by urlsplit(): a question mark and a number sign are ordinary characters of a key.
    scheme, _, location = uri.partition("://")
    bucket, _, key = location.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"{uri!r} is not an S3 URI; must be like s3://bucket/key")
    return bucket, key
