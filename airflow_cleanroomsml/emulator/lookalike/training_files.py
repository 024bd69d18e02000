"""Reads the files of a Glue table into one Arrow table."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from airflow_cleanroomsml.emulator.lookalike.clients import S3Client
from airflow_cleanroomsml.emulator.lookalike.columns import to_arrow_type
from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.glue_table import GlueTable
from airflow_cleanroomsml.emulator.lookalike.readers import Reader, choose_reader
from airflow_cleanroomsml.emulator.lookalike.storage import (
    Location,
    StoredFile,
    list_files,
    read,
    require_same_region,
)

#: Hive's value of a partition column that is null (hive.exec.default.partition.name).
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_OTHER_COMPRESSIONS = (".bz2", ".deflate", ".lz4", ".lzo", ".snappy", ".xz", ".zip", ".zst")
_GZIP_MAGIC = b"\x1f\x8b"
_WORKERS = 4
#: Most malformed files that a message reports.
_MOST_REPORTED = 5
_ERROR_CHARACTERS = 300


@dataclass(frozen=True)
class Source:
    """
    A location with training files.

    :param location: The location.
    :param reader: Reads a file.
    :param values: Value of each partition column.
    """

    location: Location
    reader: Reader
    values: Mapping[str, str]


def list_sources(table: GlueTable, problems: Problems) -> list[Source]:
    """
    List the locations and readers for the files of a table.

    :param table: The table.
    :param problems: Collects problems: locations outside of S3, and unsupported formats.
    """
    sources = []
    for part in table.parts:
        try:
            location = Location.parse(part.descriptor.get("Location", ""))
            reader = choose_reader(part.descriptor, table.parameters, table.columns)
        except JobFailure:
            text = (
                f"Glue table {table.name} has the location '{part.descriptor.get('Location', '')}', which is "
                "not on S3: views and tables in other data stores are not supported."
            )
            problems.add(StatusCode.LOCATION_NOT_ON_S3, text)
        except ValueError as error:
            problems.add(StatusCode.FORMAT_NOT_SUPPORTED, f"Glue table {table.name}: {error}.")
        else:
            sources.append(Source(location, reader, part.values))
    return sources


def read_all(s3: S3Client, sources: list[Source], types: Mapping[str, str]) -> pa.Table:
    """
    Read all files.

    :param sources: Locations and readers.
    :param types: Glue type of each column to read, by lower-case name.
    :raises JobFailure: A bucket does not exist, may not be read or is in another region, there are no files, or files are malformed; the
        message names them.
    """
    for location in {source.location.bucket: source.location for source in sources}.values():
        require_same_region(s3, location)
    work = [(source, file) for source in sources for file in list_files(s3, source.location) if file.size]
    if not work:
        locations = ", ".join(str(source.location) for source in sources[:_MOST_REPORTED])
        text = f"There are no files with content at {locations}: add data, or correct the location of the Glue table."
        raise JobFailure(StatusCode.NO_TRAINING_FILES, text)
    # Few workers, because each has the bytes of a file and its columns in memory at once.
    with ThreadPoolExecutor(_WORKERS) as pool:
        results = list(pool.map(lambda job: _read_file(s3, job[0], job[1], types), work))
    errors = [result for result in results if isinstance(result, str)]
    if errors:
        more = f" (and {len(errors) - _MOST_REPORTED:,} more files)" if len(errors) > _MOST_REPORTED else ""
        raise JobFailure(StatusCode.MALFORMED_FILE, " ".join(errors[:_MOST_REPORTED]) + more)
    return pa.concat_tables(results)


def _read_file(s3: S3Client, source: Source, file: StoredFile, types: Mapping[str, str]) -> pa.Table | str:
    """Return the columns of a file, or an error message."""
    # The values of partition columns are in Glue, not in the files.
    stored = {name: glue_type for name, glue_type in types.items() if name not in source.values}
    data = read(s3, file.location)
    try:
        table = source.reader.read(_decompress(file.location.key, data), stored)
        for name in types.keys() & source.values.keys():
            table = table.append_column(name, _repeat_value(source.values[name], types[name], len(table)))
        return table.select(list(types))
    except (ValueError, TypeError, EOFError, OSError, zlib.error, pa.ArrowException) as error:
        return f"File {file.location} cannot be read: {str(error)[:_ERROR_CHARACTERS].rstrip('. ')}."


def _decompress(key: str, data: bytes) -> bytes:
    # Hive and Spark detect compression by the file name, and would read a compressed file with another name as text.
    if key.endswith(".gz"):
        return gzip.decompress(data)
    if key.endswith(_OTHER_COMPRESSIONS):
        raise ValueError("the only supported compression of text is gzip (.gz)")
    if data.startswith(_GZIP_MAGIC):
        raise ValueError("it is compressed with gzip, but its key does not end in .gz: rename it")
    return data


def _repeat_value(value: str, glue_type: str, rows: int) -> pa.Array:
    scalar = pa.scalar(None if value == _NULL_PARTITION else value, pa.string())
    return pa.repeat(scalar, rows).cast(to_arrow_type(glue_type))
