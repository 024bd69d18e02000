from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from airflow_cleanroomsml.emulator.lookalike import StatusCode

from .lake import COLUMNS, FEATURES, JSON, LAZY, OPEN_CSV, PARQUET, PARQUET_SERDE, ROLES, TEXT, Lake, build_rows

NO_HEADER: dict[str, str] = {}
CRAWLED = {"classification": "csv", "delimiter": ",", "skip.header.line.count": "1"}


def build_parquet(names: Callable[[str], str] = str, times: pa.DataType | None = None, **options: Any) -> bytes:
    columns = dict(zip(map(names, COLUMNS), map(pa.array, zip(*build_rows(), strict=True)), strict=True))
    if times:
        columns[names("timestamp")] = columns[names("timestamp")].cast(pa.timestamp("s")).cast(times)
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def format_quoted_csv() -> str:
    return "".join(f'"{u}"|"{i}"|"{t}"|"{kind}"|{value}\n' for u, i, t, kind, value in build_rows())


def format_hive_text() -> str:
    return Lake.format_csv(delimiter="\x01", header=False)


def format_upper_case_json() -> str:
    return "".join(json.dumps(dict(zip(map(str.upper, COLUMNS), row, strict=True))) + "\n" for row in build_rows())


def format_reordered_json() -> str:
    lines = (dict(reversed(list(zip(COLUMNS, row, strict=True)))) | {"other": [1]} for row in build_rows())
    return "\ufeff" + "\n\n".join(map(json.dumps, lines))


FORMATS: dict[str, tuple[str, Callable[[], bytes | str], dict[str, Any]]] = {
    "csv with header": ("a.csv", Lake.format_csv, {}),
    "csv without header": ("a.csv", lambda: Lake.format_csv(header=False), {"parameters": NO_HEADER}),
    "csv with quotes and bars": (
        "a.txt",
        format_quoted_csv,
        {"serde_parameters": {"separatorChar": "|", "quoteChar": '"'}, "parameters": NO_HEADER},
    ),
    "csv with single quotes": (
        "a.txt",
        lambda: format_quoted_csv().replace('"', "'"),
        {"serde_parameters": {"separatorChar": "|", "quoteChar": "'"}, "parameters": NO_HEADER},
    ),
    "tabs": (
        "a.tsv",
        lambda: Lake.format_csv(delimiter="\t"),
        {"serde": LAZY, "serde_parameters": {"field.delim": "\t", "skip.header.line.count": "1"}, "parameters": {}},
    ),
    "escaped tabs": (
        "a.tsv",
        lambda: Lake.format_csv(delimiter="\t"),
        {"serde": LAZY, "serde_parameters": {"field.delim": "\\t"}},
    ),
    "hive text": ("000000_0", format_hive_text, {"serde": LAZY, "parameters": NO_HEADER}),
    "crawled csv": ("a", Lake.format_csv, {"serde": "", "parameters": CRAWLED}),
    "windows line endings": ("a.csv", lambda: Lake.format_csv().replace("\n", "\r\n"), {}),
    "csv with a byte order mark": ("a.csv", lambda: "\ufeff" + Lake.format_csv(), {}),
    "gzipped csv": ("a.csv.gz", lambda: gzip.compress(Lake.format_csv().encode()), {}),
    "json lines": ("a.json", Lake.format_json_lines, {"serde": JSON}),
    "json lines in upper case": ("a.json", format_upper_case_json, {"serde": JSON}),
    "json lines with reordered members": ("a.json", format_reordered_json, {"serde": JSON}),
    "crawled json": ("a", Lake.format_json_lines, {"serde": "", "parameters": {"classification": "json"}}),
    "gzipped json lines": ("a.json.gz", lambda: gzip.compress(Lake.format_json_lines().encode()), {"serde": JSON}),
    "parquet": ("a.parquet", build_parquet, {"serde": PARQUET_SERDE, "input_format": PARQUET}),
    "parquet by input format": ("a", build_parquet, {"serde": "", "input_format": PARQUET}),
    "gzip-compressed parquet": (
        "a.parquet",
        lambda: build_parquet(compression="gzip"),
        {"serde": PARQUET_SERDE, "input_format": PARQUET},
    ),
    "parquet in upper case": (
        "a.parquet",
        lambda: build_parquet(names=str.upper),
        {"serde": PARQUET_SERDE, "input_format": PARQUET},
    ),
    "parquet with timestamps": (
        "a.parquet",
        lambda: build_parquet(times=pa.timestamp("ms", "Europe/Berlin")),
        {
            "serde": PARQUET_SERDE,
            "input_format": PARQUET,
            "columns": {**COLUMNS, "timestamp": "timestamp"},
        },
    ),
}


@pytest.fixture(scope="module")
def reference(trained_lake: Lake) -> Any:
    trained_lake.define_dataset(ROLES | FEATURES)
    model = trained_lake.train()
    assert len(model.users) == 120
    return model


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_same_model(lake: Lake, reference: Any, name: str) -> None:
    key, body, table = FORMATS[name]
    lake.put(f"data/{key}", body())
    lake.create_table(**table)
    lake.define_dataset(ROLES | FEATURES)
    model = lake.train()
    assert model.users.equals(reference.users)
    assert (model.profiles.sparse != reference.profiles.sparse).nnz == 0
    np.testing.assert_allclose(model.profiles.dense, reference.profiles.dense, atol=1e-4)


def test_all_files_of_table_except_hidden_ones_are_read(lake: Lake, reference: Any) -> None:
    half = len(build_rows()) // 2
    lake.put("data/a.csv", lake.format_csv(build_rows()[:half]))
    lake.put("data/below/b.csv", lake.format_csv(build_rows()[half:]))
    for hidden in ("_SUCCESS", ".a.csv.crc", "_temporary/c.csv", "below/.hidden/d.csv", "below_$folder$", "below/"):
        lake.put(f"data/{hidden}", b"ignored\nfile\n" if not hidden.endswith(("/", "$")) else b"")
    lake.put("data/empty.csv", b"")
    lake.put("data-old/e.csv", b"ignored\nfile\n")
    lake.create_table(location=lake.build_uri("data"))
    lake.define_dataset(ROLES | FEATURES)
    assert (lake.train().profiles.sparse != reference.profiles.sparse).nnz == 0


def test_table_may_be_one_object(lake: Lake) -> None:
    lake.put("data.csv", lake.format_csv())
    lake.put("data.csv.old", b"ignored\nfile\n")
    lake.create_table(location=lake.build_uri("data.csv"))
    assert len(lake.train().users) == 120


def test_partitions_and_their_columns_are_read(lake: Lake, reference: Any) -> None:
    columns = {name: kind for name, kind in COLUMNS.items() if name != "event_type"}
    lake.create_table(columns=columns, partition_keys={"event_type": "string"}, parameters=NO_HEADER)
    descriptor = lake.glue.get_table(DatabaseName=lake.name, Name="interactions")["Table"]["StorageDescriptor"]
    for kind in ("view", "buy"):
        partition_rows = [(u, i, t, value) for u, i, t, event_type, value in build_rows() if event_type == kind]
        lake.put(f"data/event_type={kind}/a.csv", lake.format_csv(partition_rows, header=False))
        lake.glue.create_partition(
            DatabaseName=lake.name,
            TableName="interactions",
            PartitionInput={
                "Values": [kind],
                "StorageDescriptor": {**descriptor, "Location": lake.build_uri(f"data/event_type={kind}")},
            },
        )
    lake.put("data/event_type=other/a.csv", b"outside all partitions\n")
    lake.define_dataset(ROLES | FEATURES)
    model = lake.train()
    assert sorted(model.users.to_pylist()) == sorted(reference.users.to_pylist())
    assert model.profiles.sparse.nnz == reference.profiles.sparse.nnz


def test_problem_of_all_partitions_is_reported_once(lake: Lake) -> None:
    lake.create_table("org.apache.hadoop.hive.ql.io.orc.OrcSerde", partition_keys={"day": "string"})
    table = lake.glue.get_table(DatabaseName=lake.name, Name="interactions")["Table"]
    inputs = [{"Values": [f"{n}"], "StorageDescriptor": table["StorageDescriptor"]} for n in range(3)]
    lake.glue.batch_create_partition(DatabaseName=lake.name, TableName="interactions", PartitionInputList=inputs)
    assert lake.expect_training_failure(StatusCode.FORMAT_NOT_SUPPORTED).count("OrcSerde") == 1


def test_backslash_escapes_quote(lake: Lake) -> None:
    lines = "".join(f'"a\\"{u},",{i},{t},"{kind}",{value}\n' for u, i, t, kind, value in build_rows())
    lake.put("data/a.csv", lines)
    lake.create_table(parameters=NO_HEADER)
    assert lake.train().users[0].as_py() == 'a"u000,'


def test_partitioned_table_without_partitions_is_rejected(lake: Lake) -> None:
    lake.create_table(partition_keys={"day": "string"})
    message = lake.expect_training_failure(StatusCode.NO_TRAINING_FILES)
    assert "partitioned by day" in message
    assert "ADD PARTITION" in message


def test_ids_may_be_numbers(lake: Lake) -> None:
    numeric_rows = [(1_000_000_000_000 + int(u[1:]), int(i[1:]), *rest) for u, i, *rest in build_rows()]
    lake.put("data/a.csv", lake.format_csv(numeric_rows))
    lake.create_table(columns={**COLUMNS, "user_id": "bigint", "item_id": "int"})
    assert lake.train().users[0].as_py() == "1000000000000"


def test_json_numbers_are_read_into_text_columns(lake: Lake) -> None:
    lake.put("data/a.json", lake.format_json_lines((int(u[1:]), i, *rest) for u, i, *rest in build_rows()))
    lake.create_table(JSON)
    assert set(lake.train().users.to_pylist()) == {str(n) for n in range(120)}


def test_array_items_are_categories(lake: Lake) -> None:
    records = [dict(zip(COLUMNS, (u, i, t, [kind, "all"], v), strict=True)) for u, i, t, kind, v in build_rows()]
    lake.put("data/a.json", "\n".join(map(json.dumps, records)))
    lake.create_table(JSON, columns={**COLUMNS, "event_type": "array<string>"})
    width_before = lake.train().profiles.sparse.shape[1]
    lake.define_dataset({**ROLES, "event_type": "CATEGORICAL_FEATURE"})
    assert lake.train().profiles.sparse.shape[1] == width_before + len({"view", "buy", "all"})


def test_arrays_in_text_files_are_split(lake: Lake) -> None:
    lake.put("data/a.csv", lake.format_csv((u, i, t, f"{kind};all", v) for u, i, t, kind, v in build_rows()))
    delimiters = {"field.delim": ",", "collection.delim": ";"}
    lake.create_table(LAZY, delimiters, columns={**COLUMNS, "event_type": "array<string>"})
    width_before = lake.train().profiles.sparse.shape[1]
    lake.define_dataset({**ROLES, "event_type": "CATEGORICAL_FEATURE"})
    assert lake.train().profiles.sparse.shape[1] == width_before + 3


def test_parquet_with_zstandard_is_rejected(lake: Lake) -> None:
    lake.put("data/a.parquet", build_parquet(compression="zstd"))
    lake.create_table(PARQUET_SERDE, input_format=PARQUET)
    message = lake.expect_training_failure(StatusCode.MALFORMED_FILE)
    assert "a.parquet" in message
    assert "ZSTD" in message
    assert "Snappy" in message


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            {
                "serde": "org.apache.hadoop.hive.ql.io.orc.OrcSerde",
                "input_format": "org.apache.hadoop.hive.ql.io.orc.OrcInputFormat",
            },
            "OrcSerde",
        ),
        ({"serde": "", "input_format": "org.apache.hadoop.hive.ql.io.orc.OrcInputFormat"}, "OrcInputFormat"),
        ({"serde": "", "input_format": TEXT, "parameters": {"classification": "avro"}}, "avro"),
        ({"serde": "", "input_format": "", "parameters": {}}, "no SerDe"),
        ({"serde": PARQUET_SERDE, "parameters": {"table_type": "ICEBERG"}}, "ICEBERG"),
        ({"serde": LAZY, "serde_parameters": {"field.delim": "||"}}, "'||'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unsupported_formats_are_rejected(lake: Lake, table: dict[str, Any], expected: str) -> None:
    lake.put("data/a", lake.format_csv())
    lake.create_table(**table)
    assert expected in lake.expect_training_failure(StatusCode.FORMAT_NOT_SUPPORTED)


MALFORMED: dict[str, tuple[str, bytes | str, dict[str, Any], str]] = {
    "too many fields": ("a.csv", Lake.format_csv() + "u1,i1,1788236643,view,1,more\n", {}, "Row #1202"),
    "not a number": ("a.csv", Lake.format_csv() + "u1,i1,yesterday,view,1\n", {}, "yesterday"),
    "header unknown to Glue": (
        "a.csv",
        Lake.format_csv(),
        {"parameters": NO_HEADER},
        "skip.header.line.count",
    ),
    "columns in another order": (
        "a.csv",
        "ITEM_ID,USER_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\ni1,u1,1788236643,view,1\n",
        {},
        "item_id, user_id, timestamp",
    ),
    "not UTF-8": ("a.csv", Lake.format_csv().encode() + b"\xff\xfe,i1,1788236643,view,1\n", {}, "UTF8"),
    "not gzip": ("a.csv.gz", Lake.format_csv(), {}, "gzip"),
    "truncated gzip": ("a.csv.gz", gzip.compress(Lake.format_csv().encode())[:-20], {}, "end-of-stream"),
    "gzip under another name": ("a.csv", gzip.compress(b"u"), {}, "does not end in .gz"),
    "bzip2": ("a.csv.bz2", b"BZh9", {}, "gzip (.gz)"),
    "broken json": ("a.json", Lake.format_json_lines() + '{"user_id": "u1"\n', {"serde": JSON}, "line 1,201"),
    "not objects": ("a.json", "[1, 2]\n", {"serde": JSON}, "line 1 is a JSON array, not an object"),
    "blank": ("a.json", "\n \n", {"serde": JSON}, "lines are blank"),
    "string instead of number": (
        "a.json",
        Lake.format_json_lines() + Lake.format_json_lines([("u1", "i1", "soon", "view", 1)]),
        {"serde": JSON},
        "timestamp",
    ),
    "not parquet": ("a.parquet", Lake.format_csv(), {"serde": PARQUET_SERDE, "input_format": PARQUET}, "Parquet magic"),
    "timestamps in number column": (
        "a.parquet",
        build_parquet(times=pa.timestamp("ms")),
        {"serde": PARQUET_SERDE, "input_format": PARQUET},
        "'timestamp' has type timestamp[ms] in the file, but bigint in the Glue table",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_file_is_named(lake: Lake, name: str) -> None:
    key, body, table, expected = MALFORMED[name]
    lake.put(f"data/{key}", body)
    lake.create_table(**table)
    message = lake.expect_training_failure(StatusCode.MALFORMED_FILE)
    assert lake.build_uri(f"data/{key}") in message
    assert expected in message


def test_many_malformed_files_are_reported_at_once(lake: Lake) -> None:
    for number in range(7):
        lake.put(f"data/{number}.csv", f"header\nbad {number}\n")
    lake.create_table(OPEN_CSV)
    message = lake.expect_training_failure(StatusCode.MALFORMED_FILE)
    assert [f"data/{n}.csv" in message for n in range(7)] == [True] * 5 + [False] * 2
    assert "2 more files" in message
