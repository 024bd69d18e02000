"""Reads the files of a Glue table into one Arrow table."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from airflow_cleanroomsml._training_data.clients import S3Client
from airflow_cleanroomsml._training_data.columns import to_arrow_type
from airflow_cleanroomsml._training_data.glue_table import GlueTable
from airflow_cleanroomsml._training_data.readers import Reader, choose_reader
from airflow_cleanroomsml._training_data.readers.parquet import ZstdError
from airflow_cleanroomsml._training_data.rules import Finding, InvalidDataError, Rule
from airflow_cleanroomsml._training_data.storage import StoredFile, read
from airflow_cleanroomsml._training_data.table_files import ListedPart

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
    A training file.

    :param reader: Reads it.
    :param values: Value of each partition column.
    :param file: The file.
    """

    reader: Reader
    values: Mapping[str, str]
    file: StoredFile


def build_sources(table: GlueTable, listed: Iterable[ListedPart]) -> list[Source]:
    """
    Build the readers for the files of a table.

    :param table: The table.
    :param listed: Its files.
    """
    return [
        Source(choose_reader(each.kind, table.columns), each.part.values, file)
        for each in listed
        for file in each.files
    ]


def read_all(s3: S3Client, sources: list[Source], types: Mapping[str, str], *, may_quote: bool = False) -> pa.Table:
    """
    Read all files.

    :param sources: The files; at least one.
    :param types: Glue type of each column to read, by lower-case name.
    :param may_quote: Whether findings about malformed files may quote values of the data.
    :raises InvalidDataError: Files are malformed; the findings name them.
    """
    # Few workers, because each has the bytes of a file and its columns in memory at once.
    with ThreadPoolExecutor(_WORKERS) as pool:
        # The workers return their findings, because an exception would end the map at the first malformed file.
        results = list(pool.map(lambda source: _read_file(s3, source, types, may_quote=may_quote), sources))
    errors = [result for result in results if isinstance(result, Finding)]
    if len(errors) > _MOST_REPORTED:
        rest = Rule.MALFORMED_FILES.build("files", count=len(errors) - _MOST_REPORTED)
        errors = [*errors[:_MOST_REPORTED], rest]
    if errors:
        raise InvalidDataError(*errors)
    return pa.concat_tables(results)


def _read_file(s3: S3Client, source: Source, types: Mapping[str, str], *, may_quote: bool) -> pa.Table | Finding:
    """Return the columns of a file, or what is wrong with it."""
    # The values of partition columns are in Glue, not in the files.
    stored = {name: glue_type for name, glue_type in types.items() if name not in source.values}
    location = source.file.location
    data = read(s3, location)
    try:
        table = source.reader.read(_decompress(location.key, data), stored)
        for name in types.keys() & source.values.keys():
            table = table.append_column(name, _repeat_value(source.values[name], types[name], len(table)))
        # In the same order for every file, which concat_tables() requires.
        return table.select(list(types))
    except ZstdError:
        return Rule.ZSTD_COMPRESSION.build("files", file=location)
    except (ValueError, TypeError, EOFError, OSError, zlib.error, pa.ArrowException) as error:
        return Rule.MALFORMED_FILE.build("files", file=location, reason=_explain(error, may_quote=may_quote))


def _explain(error: Exception, *, may_quote: bool) -> str:
    # The readers' own errors are plain ones, and name lines and columns only. Those of pyarrow and gzip quote values.
    if may_quote or type(error) in (ValueError, TypeError):
        return str(error)[:_ERROR_CHARACTERS].rstrip(". ")
    kind = "pyarrow" if isinstance(error, pa.ArrowException) else "gzip"
    return (
        f"a value does not have the type of its column, or the file is not well-formed ({kind} {type(error).__name__})"
    )


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
