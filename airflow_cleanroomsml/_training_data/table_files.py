"""Checks where the files of a table are, without reading them: locations, regions, partitions and declared compression."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from airflow_cleanroomsml._training_data.clients import S3Client
from airflow_cleanroomsml._training_data.glue_table import GlueTable, Part
from airflow_cleanroomsml._training_data.rules import Finding, Findings, InvalidDataError, Rule
from airflow_cleanroomsml._training_data.storage import (
    Location,
    StoredFile,
    find_archived,
    list_files,
    require_same_region,
)
from airflow_cleanroomsml._training_data.table_format import TableFormat, detect_format, find_declared_zstd

#: Most locations or partitions that a finding names.
_MOST_NAMED = 5


@dataclass(frozen=True)
class ListedPart:
    """
    A partition, or a table without partitions, and its files with content.

    :param part: Its definition.
    :param location: Its location.
    :param kind: Its format.
    :param files: Its files.
    """

    part: Part
    location: Location
    kind: TableFormat
    files: tuple[StoredFile, ...]


def list_parts(table: GlueTable, findings: Findings) -> list[tuple[Part, Location, TableFormat]]:
    """
    List the partitions whose location and format can be used.

    :param findings: Collects findings: locations outside of S3, and unsupported formats.
    """
    usable = []
    for part in table.parts:
        kind = detect_format(table.name, part.descriptor, table.parameters, findings)
        try:
            location = Location.parse(part.descriptor.get("Location", ""), f"Glue table {table.name}")
        except InvalidDataError as error:
            findings.add(*error.findings)
        else:
            if kind is not None:
                usable.append((part, location, kind))
    return usable


def check_regions(s3: S3Client, locations: Iterable[Location], findings: Findings) -> list[str]:
    """
    Check that all buckets exist and are in the region of the job.

    :param findings: Collects findings.
    :return: Names of the buckets that can be read.
    """
    usable = []
    for location in {location.bucket: location for location in locations}.values():
        try:
            require_same_region(s3, location)
        except InvalidDataError as error:
            findings.add(*error.findings)
        else:
            usable.append(location.bucket)
    return usable


def list_table_files(
    s3: S3Client,
    table: GlueTable,
    parts: Sequence[tuple[Part, Location, TableFormat]],
    findings: Findings,
    *,
    withhold: Collection[str] = (),
) -> list[ListedPart]:
    """
    List the files of a table, and check that each partition has some.

    :param parts: Its partitions that can be used, see :func:`list_parts`.
    :param findings: Collects findings: buckets and partitions that cannot be used, and files in an archive.
    :param withhold: Partition columns whose values must not be in a finding, such as that of the user ids.
    :raises InvalidDataError: A listing failed.
    """
    buckets = check_regions(s3, (location for _, location, _ in parts), findings)
    listed = [
        ListedPart(part, location, kind, tuple(file for file in list_files(s3, location) if file.size))
        for part, location, kind in parts
        if location.bucket in buckets
    ]
    if archived := find_archived(s3, (file for each in listed for file in each.files)):
        findings.add(archived)
    if empty := [each for each in listed if not each.files]:
        if len(empty) == len(table.parts):
            findings.add(_build_no_files([each.location for each in empty]))
        else:
            findings.add(_build_empty_partitions(table, empty, len(table.parts), withhold))
    return listed


def check_declared_compression(table: GlueTable, listed: Iterable[ListedPart], findings: Findings) -> None:
    """
    Check that nothing declares Parquet files to be compressed with Zstandard.

    :param findings: Collects findings.
    """
    for each in listed:
        if each.kind.name == "parquet":
            serde = each.part.descriptor.get("SerdeInfo", {}).get("Parameters", {})
            keys = (file.location.key for file in each.files)
            parameters = {**table.parameters, **each.part.descriptor.get("Parameters", {}), **serde}
            if evidence := find_declared_zstd(parameters, keys):
                findings.add(Rule.ZSTD_DECLARED.build("tableName", table=table.name, evidence=evidence))


def _build_no_files(locations: Sequence[Location]) -> Finding:
    """Build the finding that no location has files."""
    return Rule.NO_TRAINING_FILES.build("location", locations=", ".join(map(str, locations[:_MOST_NAMED])))


def _build_empty_partitions(
    table: GlueTable, empty: Sequence[ListedPart], partitions: int, withhold: Collection[str]
) -> Finding:
    names = ""
    if not set(table.partition_columns) & set(withhold):
        texts = ["/".join(f"{key}={value}" for key, value in each.part.values.items()) for each in empty[:_MOST_NAMED]]
        more = ", …" if len(empty) > _MOST_NAMED else ""
        names = f" ({', '.join(texts)}{more})"
    return Rule.PARTITION_EMPTY.build(
        "partitions", count=len(empty), partitions=partitions, table=table.name, names=names
    )
