"""The files of a Glue table, read into one table of the columns that training needs."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from airflow_cleanroomsml.emulator.lookalike.clients import S3Client
from airflow_cleanroomsml.emulator.lookalike.columns import arrow_type
from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.glue_table import GlueTable
from airflow_cleanroomsml.emulator.lookalike.readers import Reader, reader_of
from airflow_cleanroomsml.emulator.lookalike.storage import (
    Location,
    StoredFile,
    files,
    read,
    require_same_region,
)

#: What Hive writes as the value of a partition column that is null.
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_OTHER_COMPRESSIONS = (".bz2", ".deflate", ".lz4", ".lzo", ".snappy", ".xz", ".zip", ".zst")
_GZIP_MAGIC = b"\x1f\x8b"
_WORKERS = 4
_BAD_FILES_TOLD = 5
_ERROR_CHARACTERS = 300


@dataclass(frozen=True)
class Source:
    """
    A place that training reads.

    :param location: Where the files are.
    :param reader: Reads one of them.
    :param values: Value of each partition column.
    """

    location: Location
    reader: Reader
    values: Mapping[str, str]


def sources(table: GlueTable, problems: Problems) -> list[Source]:
    """
    Find out where and how to read a table's files.

    :param table: The table.
    :param problems: Gathers what is wrong: no location on S3, a format that is not supported.
    """
    found = []
    for part in table.parts:
        try:
            location = Location.parse(part.descriptor.get("Location", ""))
            reader = reader_of(part.descriptor, table.parameters, table.columns)
        except JobFailure:
            text = (
                f"Glue table {table.name} has the location '{part.descriptor.get('Location', '')}', which is "
                "not on S3: views and tables of other stores cannot be trained on."
            )
            problems.add(StatusCode.LOCATION_NOT_ON_S3, text)
        except ValueError as error:
            problems.add(StatusCode.FORMAT_NOT_SUPPORTED, f"Glue table {table.name}: {error}.")
        else:
            found.append(Source(location, reader, part.values))
    return found


def read_all(s3: S3Client, places: list[Source], types: Mapping[str, str]) -> pa.Table:
    """
    Read every file.

    :param places: Where to read, and how.
    :param types: Glue type of each column wanted, by name in lower case.
    :raises JobFailure: When a bucket is missing, closed or elsewhere, when there are no files, or when some
        cannot be read: the message names them.
    """
    for location in {place.location.bucket: place.location for place in places}.values():
        require_same_region(s3, location)
    work = [(place, file) for place in places for file in files(s3, place.location) if file.size]
    if not work:
        where = ", ".join(str(place.location) for place in places[:_BAD_FILES_TOLD])
        text = f"No files with content at {where}: put the data there or correct the Glue table's location."
        raise JobFailure(StatusCode.NO_TRAINING_FILES, text)
    # a handful at a time: each worker holds one file's bytes beside its columns
    with ThreadPoolExecutor(_WORKERS) as pool:
        results = list(pool.map(lambda job: _read_file(s3, job[0], job[1], types), work))
    bad = [result for result in results if isinstance(result, str)]
    if bad:
        more = f" (and {len(bad) - _BAD_FILES_TOLD:,} more files)" if len(bad) > _BAD_FILES_TOLD else ""
        raise JobFailure(StatusCode.MALFORMED_FILE, " ".join(bad[:_BAD_FILES_TOLD]) + more)
    return pa.concat_tables(results)


def _read_file(s3: S3Client, place: Source, file: StoredFile, types: Mapping[str, str]) -> pa.Table | str:
    stored = {name: kind for name, kind in types.items() if name not in place.values}
    data = read(s3, file.location)
    try:
        table = place.reader.read(_decompressed(file.location.key, data), stored)
        for name in types.keys() & place.values.keys():
            table = table.append_column(name, _constant(place.values[name], types[name], len(table)))
        return table.select(list(types))
    except (ValueError, TypeError, EOFError, OSError, zlib.error, pa.ArrowException) as error:
        return f"File {file.location} cannot be read: {str(error)[:_ERROR_CHARACTERS].rstrip('. ')}."


def _decompressed(key: str, data: bytes) -> bytes:
    # Hive and Spark go by the name, so a compressed file with another name would be read as text
    if key.endswith(".gz"):
        return gzip.decompress(data)
    if key.endswith(_OTHER_COMPRESSIONS):
        raise ValueError("of compressed text only gzip (.gz) is supported")
    if data.startswith(_GZIP_MAGIC):
        raise ValueError("it is compressed by gzip, but its key does not end in .gz: rename it")
    return data


def _constant(value: str, glue_type: str, rows: int) -> pa.Array:
    scalar = pa.scalar(None if value == _NULL_PARTITION else value, pa.string())
    return pa.repeat(scalar, rows).cast(arrow_type(glue_type))
