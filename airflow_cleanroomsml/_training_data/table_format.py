"""The format of a table's files, as far as the Glue Data Catalog declares it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml._training_data.rules import Findings, Rule

_SERDES = {
    "OpenCSVSerde": "csv",
    "LazySimpleSerDe": "csv",
    "JsonSerDe": "json",
    "ParquetHiveSerDe": "parquet",
}
_CLASSIFICATIONS = {"csv", "json", "parquet"}
#: The parameter of a text table with the number of its header lines (Athena, "Create tables").
_HEADER_LINES = "skip.header.line.count"
#: Defaults of Hive's LazySimpleSerDe (Hive DDL, row format).
_HIVE_FIELD, _HIVE_ELEMENT = "\x01", "\x02"
#: Table properties that name the compression of Parquet files (Athena, "Use compression in Athena"; AWS Glue, table parameters).
_COMPRESSION_PROPERTIES = (
    "parquet.compression",
    "parquet.compress",
    "write.compression",
    "write_compression",
    "compressiontype",
)
#: How Spark, Athena and pandas name the codec in a key.
_ZSTD_SUFFIXES = (".zstd.parquet", ".zst.parquet", ".parquet.zstd", ".parquet.zst")


@dataclass(frozen=True)
class TextOptions:
    """
    How delimited text is read.

    :param delimiter: Delimiter of fields.
    :param element_delimiter: Delimiter of the elements of an array.
    :param quote: Quote character; None if quotes are ordinary characters.
    :param escape: Escape character; None for none.
    :param skip_lines: Number of header lines.
    """

    delimiter: str = ","
    element_delimiter: str = _HIVE_ELEMENT
    quote: str | None = None
    escape: str | None = None
    skip_lines: int = 0


@dataclass(frozen=True)
class TableFormat:
    """
    The format of the files of a table or partition.

    :param name: ``csv``, ``json`` or ``parquet``.
    :param text: How to read a ``csv``.
    """

    name: str
    text: TextOptions = TextOptions()


def detect_format(
    table: str, descriptor: Mapping[str, Any], parameters: Mapping[str, str], findings: Findings
) -> TableFormat | None:
    """
    Detect the format by SerDe, input format or classification, in this order.

    :param table: Name of the table, for findings.
    :param descriptor: Storage descriptor of the table or partition.
    :param parameters: Parameters of the table.
    :param findings: Collects findings.
    :return: None if the user guide does not list the format ("Training data requirements"), or it cannot be read.
    """
    serde = descriptor.get("SerdeInfo", {})
    library = serde.get("SerializationLibrary", "")
    # Table formats keep files of earlier versions, so reading all files would be wrong.
    table_format = parameters.get("table_type") or parameters.get("spark.sql.sources.provider", "")
    if table_format.lower() in {"iceberg", "delta", "hudi"}:
        findings.add(Rule.FORMAT_NOT_SUPPORTED.build("tableName", table=table, format=table_format))
        return None
    input_format = descriptor.get("InputFormat", "")
    name = _detect_name(library, input_format, parameters)
    if name not in _CLASSIFICATIONS:
        declared = library or parameters.get("classification") or input_format or "no SerDe, no classification"
        findings.add(Rule.FORMAT_NOT_SUPPORTED.build("tableName", table=table, format=declared))
        return None
    if name != "csv":
        return TableFormat(name)
    options = {**parameters, **serde.get("Parameters", {})}
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", header := options.get(_HEADER_LINES, "0")):
        declared = f"{_HEADER_LINES} is {header!r}, which is not a number of lines"
        findings.add(Rule.FORMAT_NOT_SUPPORTED.build("tableName", table=table, format=declared))
        return None
    text = _parse_text_options(options, quoting=library.endswith("OpenCSVSerde"))
    if len(text.delimiter) != 1:
        findings.add(Rule.DELIMITER_NOT_SUPPORTED.build("tableName", table=table, delimiter=repr(text.delimiter)))
        return None
    return TableFormat(name, text)


def find_declared_zstd(parameters: Mapping[str, str], keys: Iterable[str]) -> str:
    """
    Return what declares that Parquet files are compressed with Zstandard; empty if nothing does.

    :param parameters: Parameters of the table and of its SerDe.
    :param keys: Keys of its files.
    """
    for name, value in parameters.items():
        if name.lower() in _COMPRESSION_PROPERTIES and value.lower() in {"zstd", "zstandard"}:
            return f"its property {name}"
    count = sum(key.lower().endswith(_ZSTD_SUFFIXES) for key in keys)
    return "" if not count else "the name of 1 file" if count == 1 else f"the names of {count:,} files"


def _detect_name(library: str, input_format: str, parameters: Mapping[str, str]) -> str | None:
    # The SerDe comes first, because it decides how Hive and Athena read a file; a classification is only a property of the table.
    if library:
        return _SERDES.get(library.rpartition(".")[2])
    if input_format.endswith("ParquetInputFormat"):
        return "parquet"
    if not input_format or input_format.endswith("TextInputFormat"):
        return parameters.get("classification", "").lower()
    return None


def _parse_text_options(parameters: Mapping[str, str], *, quoting: bool) -> TextOptions:
    """
    Parse the parameters of a text table.

    :param parameters: Parameters of the table, overridden by those of its SerDe.
    :param quoting: Whether the SerDe is OpenCSVSerde; LazySimpleSerDe has no quotes.
    """
    options = {name: _unescape(value) for name, value in parameters.items()}
    default = "," if quoting or options.get("classification") == "csv" else _HIVE_FIELD
    quote = options.get("quoteChar", '"') if quoting else None
    escape = options.get("escapeChar", "\\") if quoting else options.get("escape.delim")
    return TextOptions(
        options.get("separatorChar" if quoting else "field.delim") or options.get("delimiter", default),
        # Hive itself misspelt it "colelction" until version 3.
        options.get("collection.delim") or options.get("colelction.delim", _HIVE_ELEMENT),
        quote,
        # A doubled quote needs no escape character, and pyarrow cannot use the same for both.
        None if escape == quote else escape,
        int(options.get(_HEADER_LINES, "0")),
    )


def _unescape(value: str) -> str:
    # DDL statements and API calls put a tab into Glue either as such or as a backslash and a t.
    return {"\\t": "\t", "\\001": "\x01", "\\u0001": "\x01", "\\\\": "\\", '\\"': '"'}.get(value, value)
