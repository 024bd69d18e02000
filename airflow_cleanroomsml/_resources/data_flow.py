"""What a request reads and what its operation writes: Glue tables, S3 locations, and resources of the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

#: Members that say where later operations write, or what they may write; the request itself reads nothing there.
_DESTINATIONS = frozenset(("output_config", "output_configuration", "default_output_location"))
#: Services of AWS whose resources hold or describe the data of a collaboration. A role or a key is no data.
_SERVICES = frozenset(("cleanrooms", "cleanrooms-ml"))


class GlueTable(NamedTuple):
    """
    A table of the AWS Glue Data Catalog.

    :param catalog: Its catalog, the identifier of an account; None means the caller's.
    """

    database: str
    table: str
    catalog: str | None = None


class S3Location(NamedTuple):
    """An object in S3, or the prefix of several."""

    uri: str


class ServiceResource(NamedTuple):
    """A resource of Clean Rooms or Clean Rooms ML."""

    arn: str


Data: TypeAlias = GlueTable | S3Location | ServiceResource


def find_data(members: Mapping[str, Any]) -> list[Data]:
    """
    Find the data that the members of a request or of a response name, each once, in their order.

    SQL is not parsed: it is confidential, and the tables that it names are those of other members. Locations that only say where later
    operations write are left out.

    :param members: Members by their names in snake_case; nested members in the API's own spelling.
    """
    given = {name: value for name, value in members.items() if name not in _DESTINATIONS}
    return list(dict.fromkeys(_walk(given)))


def _walk(value: Any) -> Iterator[Data]:
    if isinstance(value, Mapping):
        if isinstance(table := value.get("glueDataSource"), Mapping) and table.get("tableName"):
            yield GlueTable(table.get("databaseName", ""), table["tableName"], table.get("catalogId"))
        for member in value.values():
            yield from _walk(member)
    elif isinstance(value, str):
        if value.startswith("s3://"):
            yield S3Location(value)
        elif value.startswith("arn:") and value.split(":", 3)[2] in _SERVICES:
            yield ServiceResource(value)
    elif isinstance(value, Sequence):
        for entry in value:
            yield from _walk(entry)
