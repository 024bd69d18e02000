"""What a request reads and what its operation writes: Glue tables, S3 locations, and resources of the service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from airflow_cleanroomsml._requests.arns import parse_arn

#: Members that say where later operations write, or what they may write; the request itself reads nothing there.
_DESTINATIONS = frozenset(("output_config", "output_configuration", "default_output_location"))
#: Members of any depth whose values are the user's own texts: some are confidential, and the service reads no data that they name.
_FREE_TEXTS = frozenset(
    ("arguments", "description", "entrypoint", "environment", "hyperparameters", "sqlParameters", "tags")
)
#: Services of AWS whose resources hold or describe the data of a collaboration. A role or a key is not data.
_SERVICES = frozenset(("cleanrooms", "cleanrooms-ml"))


class GlueTable(NamedTuple):
    """
    A table of the AWS Glue Data Catalog.

    :param catalog: Its catalog, the identifier of an account; None means the caller's.
    :param columns: The columns that are read, each with its types in a training dataset, such as ``USER_ID``; empty if unknown.
    """

    database: str
    table: str
    catalog: str | None = None
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()


class S3Location(NamedTuple):
    """An object in S3, or the prefix of several."""

    uri: str


class ServiceResource(NamedTuple):
    """A resource of Clean Rooms or Clean Rooms ML."""

    arn: str


Data: TypeAlias = GlueTable | S3Location | ServiceResource


class DataFlow(NamedTuple):
    """
    What a task reads and writes.

    :param inputs: What it reads.
    :param outputs: What it has created or changed, as far as it is known yet.
    :param deleted: What it deletes.
    :param members: Identifiers and outputs of the resource that the task is about, by their XCom keys.
    """

    inputs: Sequence[Data] = ()
    outputs: Sequence[Data] = ()
    deleted: Sequence[Data] = ()
    members: Mapping[str, Any] = {}

    @property
    def public_members(self) -> dict[str, Any]:
        """The members without the service's explanations, which are long and may quote something confidential."""
        return {
            name: value for name, value in self.members.items() if value is not None and not name.endswith("_details")
        }


def find_data(members: Mapping[str, Any]) -> list[Data]:
    """
    Find the data that the members of a request or of a response name, each once, in their order.

    SQL is not parsed: it is confidential, and the tables that it names are those of other members. Locations that only say where later
    operations write are omitted.

    :param members: Members by their names in snake_case; nested members in the API's own spelling.
    """
    given = {name: value for name, value in members.items() if name not in _DESTINATIONS}
    return list(dict.fromkeys(_walk(given)))


def name_data(data: Iterable[Data]) -> tuple[str, ...]:
    """Return the ARNs and URIs of data, from which :func:`find_data` finds them again; a Glue table has neither."""
    return tuple(
        each.arn if isinstance(each, ServiceResource) else each.uri for each in data if not isinstance(each, GlueTable)
    )


def name_resource(resource: ServiceResource) -> tuple[str, str]:
    """
    Return namespace and name of a resource as an OpenLineage dataset.

    OpenLineage has no rule for this service, so they follow its rule for Glue, whose namespace is the beginning of an ARN, up to the
    account.
    """
    *namespace, name = resource.arn.split(":", 5)
    return ":".join(namespace), name


def name_s3_location(location: S3Location) -> tuple[str, str]:
    """Return namespace and name of a location in S3 as an OpenLineage dataset (OpenLineage specification, Naming)."""
    bucket, _, key = location.uri.removeprefix("s3://").partition("/")
    return f"s3://{bucket}", key.strip("/") or "/"


def _walk(value: Any, schema: Any = None) -> Iterator[Data]:
    if isinstance(value, Mapping):
        schema = value.get("schema", schema)
        if isinstance(table := value.get("glueDataSource"), Mapping) and table.get("tableName"):
            catalog, columns = table.get("catalogId"), tuple(_read_columns(schema))
            yield GlueTable(table.get("databaseName", ""), table["tableName"], catalog, columns)
        for name, member in value.items():
            if name not in _FREE_TEXTS:
                yield from _walk(member, schema)
    elif isinstance(value, str):
        if value.startswith("s3://"):
            yield S3Location(value)
        elif _is_resource(value):
            yield ServiceResource(value)
    elif isinstance(value, Sequence):
        for entry in value:
            yield from _walk(entry, schema)


def _is_resource(text: str) -> bool:
    # Region and account name the dataset, so an ARN without them says nothing.
    arn = parse_arn(text)
    return arn is not None and arn.service in _SERVICES and bool(arn.region and arn.account)


def _read_columns(schema: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Read the columns of a training dataset's schema."""
    for column in schema or ():
        if isinstance(column, Mapping) and column.get("columnName"):
            yield column["columnName"], tuple(column.get("columnTypes", ()))
