"""Encodes the data of a test as a file of a Glue table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow_cleanroomsml.testing.table_rows import check_column_names, check_rows, check_types, parse_csv

#: Rows with the same columns, the text of a CSV file with a header, the ``pathlib.Path`` of one, a pandas DataFrame or a pyarrow Table.
TableData = Iterable[Mapping[str, Any]] | str | bytes | Path | Any

_CSV = {
    "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde",
        "Parameters": {"separatorChar": ",", "quoteChar": '"'},
    },
}
_PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}
#: Glue types of Python's types. A bool is an int, too, and comes first.
_GLUE_TYPES = ((bool, "boolean"), (int, "bigint"), (float, "double"), (datetime, "timestamp"))


@dataclass(frozen=True)
class EncodedTable:
    """
    A file, and how Glue describes it.

    :param file_format: ``csv`` or ``parquet``.
    :param body: Content of the file.
    :param columns: Glue type of each column.
    """

    file_format: str
    body: bytes
    columns: Mapping[str, str]

    def build_table_input(self, name: str, location: str) -> dict[str, Any]:
        """Build the ``TableInput`` of Glue's CreateTable."""
        is_csv = self.file_format == "csv"
        return {
            "Name": name,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {
                "classification": self.file_format,
                **({"skip.header.line.count": "1"} if is_csv else {}),
            },
            "StorageDescriptor": {
                "Columns": [{"Name": column, "Type": kind} for column, kind in self.columns.items()],
                "Location": location,
                **(_CSV if is_csv else _PARQUET),
            },
        }


def encode(data: TableData, file_format: str | None = None, types: Mapping[str, str] | None = None) -> EncodedTable:
    """
    Encode a table.

    :param file_format: ``csv`` or ``parquet``; by default Parquet for pandas and pyarrow, otherwise CSV.
    :param types: Glue types of columns; those of all others follow from their values.
    :raises ValueError: The format does not exist, the data is not a table, or ``types`` names a column that it does not have.
    """
    if file_format not in (None, "csv", "parquet"):
        raise ValueError(f"file_format is {file_format!r}; must be 'csv' or 'parquet'")
    if isinstance(data, Path):
        data = data.read_bytes()
    if isinstance(data, str):
        data = data.encode()
    # By their methods, so that neither pandas nor pyarrow is imported for data that needs neither.
    is_frame = hasattr(data, "to_pylist") or hasattr(data, "to_parquet")
    file_format = file_format or ("parquet" if is_frame else "csv")
    if isinstance(data, bytes):
        body, columns = (_encode_csv_text if file_format == "csv" else _encode_parquet_of_text)(data)
    else:
        table = _check_frame(data) if is_frame else check_rows(data)
        body, columns = (_encode_csv if file_format == "csv" else _encode_parquet)(table)
    check_types(types or {}, columns)
    return EncodedTable(file_format, body, {**columns, **(types or {})})


def _check_frame(frame: Any) -> Any:
    check_column_names(list(frame.column_names if hasattr(frame, "to_pylist") else frame.columns))
    return frame


def _encode_csv_text(text: bytes) -> tuple[bytes, dict[str, str]]:
    rows = parse_csv(text)
    return text, {name: _infer_type_of_texts([row[name] for row in rows]) for name in rows[0]}


def _encode_parquet_of_text(text: bytes) -> tuple[bytes, dict[str, str]]:
    parse_csv(text)
    from pyarrow import csv as arrow_csv

    return _encode_parquet(arrow_csv.read_csv(io.BytesIO(text)))


def _encode_csv(data: Any) -> tuple[bytes, dict[str, str]]:
    if hasattr(data, "to_pylist"):
        data = data.to_pylist()
    elif hasattr(data, "to_dict"):
        data = data.to_dict("records")
    rows = check_rows(data)
    columns = {name: _infer_type([row[name] for row in rows]) for name in rows[0]}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_format_value(row[name]) for name in columns] for row in rows)
    return out.getvalue().encode(), columns


def _infer_type(values: Iterable[Any]) -> str:
    """Return the Glue type of values; text if they are of several types or of another one."""
    present = [value for value in values if value is not None]
    for python_type, glue_type in _GLUE_TYPES:
        if present and all(isinstance(value, python_type) for value in present):
            return glue_type
    is_number = present and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in present)
    return "double" if is_number else "string"


def _infer_type_of_texts(texts: Iterable[str | None]) -> str:
    present = [text for text in texts if text]
    for python_type, glue_type in ((int, "bigint"), (float, "double")):
        try:
            for text in present:
                python_type(text)
        except ValueError:
            continue
        return glue_type if present else "string"
    return "string"


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    # Hive writes true and false in lower case.
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        # Hive's timestamps have no time zone.
        utc = value.astimezone(timezone.utc) if value.tzinfo else value
        return f"{utc:%Y-%m-%d %H:%M:%S.%f}"
    return str(value)


def _encode_parquet(data: Any) -> tuple[bytes, dict[str, str]]:
    import pyarrow as pa
    from pyarrow import parquet

    if hasattr(data, "to_parquet"):
        # The index of a DataFrame is not a column of the table, but pyarrow would add it as ``__index_level_0__``.
        data = pa.Table.from_pandas(data, preserve_index=False)
    elif not hasattr(data, "to_pylist"):
        data = pa.Table.from_pylist(data)
    if not data.num_rows:
        raise ValueError("data: the table has no rows")
    out = io.BytesIO()
    parquet.write_table(data, out)
    return out.getvalue(), {field.name: _convert_arrow_type(field.type) for field in data.schema}


def _convert_arrow_type(arrow_type: Any) -> str:
    from pyarrow import types

    if types.is_list(arrow_type) or types.is_large_list(arrow_type):
        return f"array<{_convert_arrow_type(arrow_type.value_type)}>"
    if types.is_dictionary(arrow_type):
        return _convert_arrow_type(arrow_type.value_type)
    checks = (
        (types.is_boolean, "boolean"),
        (types.is_int64, "bigint"),
        (types.is_integer, "int"),
        (types.is_float32, "float"),
        (types.is_floating, "double"),
        (types.is_timestamp, "timestamp"),
    )
    return next((glue_type for check, glue_type in checks if check(arrow_type)), "string")
