"""Types of the boto3 clients that the engine uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Paginator(Protocol):
    """A boto3 paginator."""

    def paginate(self, **kwargs: Any) -> Iterable[dict[str, Any]]:
        """Return the pages of a listing."""


class GlueClient(Protocol):
    """``boto3.client("glue")``, read only."""

    @property
    def meta(self) -> Any:
        """Return the metadata of the client, such as its region."""

    def get_database(self, **kwargs: Any) -> dict[str, Any]:
        """Return a database of the Data Catalog."""

    def get_table(self, **kwargs: Any) -> dict[str, Any]:
        """Return a table of the Data Catalog."""

    def get_paginator(self, operation_name: str) -> Paginator:
        """Return the paginator of ``get_partitions``."""


class S3Client(Protocol):
    """``boto3.client("s3")``."""

    @property
    def meta(self) -> Any:
        """Return the metadata of the client, such as its region."""

    def head_bucket(self, **kwargs: Any) -> dict[str, Any]:
        """Return the region of a bucket."""

    def head_object(self, **kwargs: Any) -> dict[str, Any]:
        """Return the properties of an object."""

    def get_object(self, **kwargs: Any) -> dict[str, Any]:
        """Return an object with its body."""

    def put_object(self, **kwargs: Any) -> dict[str, Any]:
        """Write an object."""

    def get_paginator(self, operation_name: str) -> Paginator:
        """Return the paginator of ``list_objects_v2``."""


class IamClient(Protocol):
    """``boto3.client("iam")``, read only."""

    def get_role(self, **kwargs: Any) -> dict[str, Any]:
        """Return a role."""

    def simulate_principal_policy(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the policies of a role allow."""
