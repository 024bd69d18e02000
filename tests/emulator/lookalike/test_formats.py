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

from .lake import COLUMNS, FEATURES, JSON, LAZY, OPEN_CSV, PARQUET, PARQUET_SERDE, ROLES, TEXT, Lake, rows

NO_HEADER: dict[str, str] = {}
CRAWLED = {"classification": "csv", "delimiter": ",", "skip.header.line.count": "1"}


def parquet_file(names: Callable[[str], str] = str, times: pa.DataType | None = None, **options: Any) -> bytes:
    columns = dict(zip(map(names, COLUMNS), map(pa.array, zip(*rows(), strict=True)), strict=True))
    if times:
        columns[names("timestamp")] = columns[names("timestamp")].cast(pa.timestamp("s")).cast(times)
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def quoted() -> str:
    return "".join(f'"{u}"|"{i}"|"{t}"|"{kind}"|{value}\n' for u, i, t, kind, value in rows())


def hive_text() -> str:
    return Lake.csv(delimiter="\x01", header=False)


def upper_json() -> str:
    return "".join(json.dumps(dict(zip(map(str.upper, COLUMNS), row, strict=True))) + "\n" for row in rows())


def reordered_json() -> str:
    lines = (dict(reversed(list(zip(COLUMNS, row, strict=True)))) | {"other": [1]} for row in rows())
    return "\ufeff" + "\n\n".join(map(json.dumps, lines))


FORMATS: dict[str, tuple[str, Callable[[], bytes | str], dict[str, Any]]] = {
    "csv with header": ("a.csv", Lake.csv, {}),
    "csv without header": ("a.csv", lambda: Lake.csv(header=False), {"parameters": NO_HEADER}),
    "csv with quotes and bars": (
        "a.txt",
        quoted,
        {"serde_parameters": {"separatorChar": "|", "quoteChar": '"'}, "parameters": NO_HEADER},
    ),
    "csv with single quotes": (
        "a.txt",
        lambda: quoted().replace('"', "'"),
        {"serde_parameters": {"separatorChar": "|", "quoteChar": "'"}, "parameters": NO_HEADER},
    ),
    "tabs": (
        "a.tsv",
        lambda: Lake.csv(delimiter="\t"),
        {"serde": LAZY, "serde_parameters": {"field.delim": "\t", "skip.header.line.count": "1"}, "parameters": {}},
    ),
    "tabs, escaped": (
        "a.tsv",
        lambda: Lake.csv(delimiter="\t"),
        {"serde": LAZY, "serde_parameters": {"field.delim": "\\t"}},
    ),
    "hive's own text": ("000000_0", hive_text, {"serde": LAZY, "parameters": NO_HEADER}),
    "crawled csv": ("a", Lake.csv, {"serde": "", "parameters": CRAWLED}),
    "windows lines": ("a.csv", lambda: Lake.csv().replace("\n", "\r\n"), {}),
    "csv with a byte order mark": ("a.csv", lambda: "\ufeff" + Lake.csv(), {}),
    "gzipped csv": ("a.csv.gz", lambda: gzip.compress(Lake.csv().encode()), {}),
    "json lines": ("a.json", Lake.json_lines, {"serde": JSON}),
    "json lines in upper case": ("a.json", upper_json, {"serde": JSON}),
    "json lines in any order": ("a.json", reordered_json, {"serde": JSON}),
    "crawled json": ("a", Lake.json_lines, {"serde": "", "parameters": {"classification": "json"}}),
    "gzipped json lines": ("a.json.gz", lambda: gzip.compress(Lake.json_lines().encode()), {"serde": JSON}),
    "parquet": ("a.parquet", parquet_file, {"serde": PARQUET_SERDE, "input_format": PARQUET}),
    "parquet by input format": ("a", parquet_file, {"serde": "", "input_format": PARQUET}),
    "parquet, gzip inside": (
        "a.parquet",
        lambda: parquet_file(compression="gzip"),
        {"serde": PARQUET_SERDE, "input_format": PARQUET},
    ),
    "parquet in upper case": (
        "a.parquet",
        lambda: parquet_file(names=str.upper),
        {"serde": PARQUET_SERDE, "input_format": PARQUET},
    ),
    "parquet with timestamps": (
        "a.parquet",
        lambda: parquet_file(times=pa.timestamp("ms", "Europe/Berlin")),
        {
            "serde": PARQUET_SERDE,
            "input_format": PARQUET,
            "columns": {**COLUMNS, "timestamp": "timestamp"},
        },
    ),
}


@pytest.fixture(scope="module")
def reference(trained: Lake) -> Any:
    trained.describe(ROLES | FEATURES)
    model = trained.train()
    assert len(model.users) == 120
    return model


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_model(lake: Lake, reference: Any, name: str) -> None:
    key, body, table = FORMATS[name]
    lake.put(f"data/{key}", body())
    lake.table(**table)
    lake.describe(ROLES | FEATURES)
    model = lake.train()
    assert model.users.equals(reference.users)
    assert (model.profiles.sparse != reference.profiles.sparse).nnz == 0
    np.testing.assert_allclose(model.profiles.dense, reference.profiles.dense, atol=1e-4)


def test_all_files_of_a_table_except_hidden_ones_are_read(lake: Lake, reference: Any) -> None:
    half = len(rows()) // 2
    lake.put("data/a.csv", lake.csv(rows()[:half]))
    lake.put("data/below/b.csv", lake.csv(rows()[half:]))
    for hidden in ("_SUCCESS", ".a.csv.crc", "_temporary/c.csv", "below/.hidden/d.csv", "below_$folder$", "below/"):
        lake.put(f"data/{hidden}", b"not\nto be read\n" if not hidden.endswith(("/", "$")) else b"")
    lake.put("data/empty.csv", b"")
    lake.put("data-old/e.csv", b"not\nto be read\n")
    lake.table(location=lake.uri("data"))
    lake.describe(ROLES | FEATURES)
    assert (lake.train().profiles.sparse != reference.profiles.sparse).nnz == 0


def test_a_table_may_be_one_object(lake: Lake) -> None:
    lake.put("data.csv", lake.csv())
    lake.put("data.csv.old", b"not\nto be read\n")
    lake.table(location=lake.uri("data.csv"))
    assert len(lake.train().users) == 120


def test_partitions_and_their_columns_are_read(lake: Lake, reference: Any) -> None:
    columns = {name: kind for name, kind in COLUMNS.items() if name != "event_type"}
    lake.table(columns=columns, partition_keys={"event_type": "string"}, parameters=NO_HEADER)
    descriptor = lake.glue.get_table(DatabaseName=lake.name, Name="interactions")["Table"]["StorageDescriptor"]
    for kind in ("view", "buy"):
        some = [(u, i, t, value) for u, i, t, found, value in rows() if found == kind]
        lake.put(f"data/event_type={kind}/a.csv", lake.csv(some, header=False))
        lake.glue.create_partition(
            DatabaseName=lake.name,
            TableName="interactions",
            PartitionInput={
                "Values": [kind],
                "StorageDescriptor": {**descriptor, "Location": lake.uri(f"data/event_type={kind}")},
            },
        )
    lake.put("data/event_type=other/a.csv", b"of no partition\n")
    lake.describe(ROLES | FEATURES)
    model = lake.train()
    assert sorted(model.users.to_pylist()) == sorted(reference.users.to_pylist())
    assert model.profiles.sparse.nnz == reference.profiles.sparse.nnz


def test_a_problem_of_all_partitions_is_reported_once(lake: Lake) -> None:
    lake.table("org.apache.hadoop.hive.ql.io.orc.OrcSerde", partition_keys={"day": "string"})
    table = lake.glue.get_table(DatabaseName=lake.name, Name="interactions")["Table"]
    inputs = [{"Values": [f"{n}"], "StorageDescriptor": table["StorageDescriptor"]} for n in range(3)]
    lake.glue.batch_create_partition(DatabaseName=lake.name, TableName="interactions", PartitionInputList=inputs)
    assert lake.refused(StatusCode.FORMAT_NOT_SUPPORTED).count("OrcSerde") == 1


def test_a_backslash_escapes_a_quote(lake: Lake) -> None:
    lines = "".join(f'"a\\"{u},",{i},{t},"{kind}",{value}\n' for u, i, t, kind, value in rows())
    lake.put("data/a.csv", lines)
    lake.table(parameters=NO_HEADER)
    assert lake.train().users[0].as_py() == 'a"u000,'


def test_a_partitioned_table_without_partitions_is_rejected(lake: Lake) -> None:
    lake.table(partition_keys={"day": "string"})
    message = lake.refused(StatusCode.NO_TRAINING_FILES)
    assert "partitioned by day" in message
    assert "ADD PARTITION" in message


def test_ids_may_be_numbers(lake: Lake) -> None:
    numbered = [(1_000_000_000_000 + int(u[1:]), int(i[1:]), *rest) for u, i, *rest in rows()]
    lake.put("data/a.csv", lake.csv(numbered))
    lake.table(columns={**COLUMNS, "user_id": "bigint", "item_id": "int"})
    assert lake.train().users[0].as_py() == "1000000000000"


def test_json_numbers_are_read_into_text_columns(lake: Lake) -> None:
    lake.put("data/a.json", lake.json_lines((int(u[1:]), i, *rest) for u, i, *rest in rows()))
    lake.table(JSON)
    assert set(lake.train().users.to_pylist()) == {str(n) for n in range(120)}


def test_arrays_are_several_categories(lake: Lake) -> None:
    found = [dict(zip(COLUMNS, (u, i, t, [kind, "all"], v), strict=True)) for u, i, t, kind, v in rows()]
    lake.put("data/a.json", "\n".join(map(json.dumps, found)))
    lake.table(JSON, columns={**COLUMNS, "event_type": "array<string>"})
    without = lake.train().profiles.sparse.shape[1]
    lake.describe({**ROLES, "event_type": "CATEGORICAL_FEATURE"})
    assert lake.train().profiles.sparse.shape[1] == without + len({"view", "buy", "all"})


def test_arrays_in_text_are_split(lake: Lake) -> None:
    lake.put("data/a.csv", lake.csv((u, i, t, f"{kind};all", v) for u, i, t, kind, v in rows()))
    delimiters = {"field.delim": ",", "collection.delim": ";"}
    lake.table(LAZY, delimiters, columns={**COLUMNS, "event_type": "array<string>"})
    without = lake.train().profiles.sparse.shape[1]
    lake.describe({**ROLES, "event_type": "CATEGORICAL_FEATURE"})
    assert lake.train().profiles.sparse.shape[1] == without + 3


def test_parquet_with_zstandard_is_rejected(lake: Lake) -> None:
    lake.put("data/a.parquet", parquet_file(compression="zstd"))
    lake.table(PARQUET_SERDE, input_format=PARQUET)
    message = lake.refused(StatusCode.MALFORMED_FILE)
    assert "a.parquet" in message
    assert "ZSTD" in message
    assert "Snappy" in message


@pytest.mark.parametrize(
    ("table", "named"),
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
def test_other_formats_are_rejected(lake: Lake, table: dict[str, Any], named: str) -> None:
    lake.put("data/a", lake.csv())
    lake.table(**table)
    assert named in lake.refused(StatusCode.FORMAT_NOT_SUPPORTED)


MALFORMED: dict[str, tuple[str, bytes | str, dict[str, Any], str]] = {
    "too many fields": ("a.csv", Lake.csv() + "u1,i1,1788236643,view,1,more\n", {}, "Row #1202"),
    "no number": ("a.csv", Lake.csv() + "u1,i1,yesterday,view,1\n", {}, "yesterday"),
    "a header that Glue does not know of": (
        "a.csv",
        Lake.csv(),
        {"parameters": NO_HEADER},
        "skip.header.line.count",
    ),
    "columns in another order": (
        "a.csv",
        "ITEM_ID,USER_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\ni1,u1,1788236643,view,1\n",
        {},
        "item_id, user_id, timestamp",
    ),
    "not UTF-8": ("a.csv", Lake.csv().encode() + b"\xff\xfe,i1,1788236643,view,1\n", {}, "UTF8"),
    "not gzip": ("a.csv.gz", Lake.csv(), {}, "gzip"),
    "half a gzip": ("a.csv.gz", gzip.compress(Lake.csv().encode())[:-20], {}, "end-of-stream"),
    "gzip under another name": ("a.csv", gzip.compress(b"u"), {}, "does not end in .gz"),
    "bzip2": ("a.csv.bz2", b"BZh9", {}, "gzip (.gz)"),
    "broken json": ("a.json", Lake.json_lines() + '{"user_id": "u1"\n', {"serde": JSON}, "line 1,201"),
    "no objects": ("a.json", "[1, 2]\n", {"serde": JSON}, "line 1 is a JSON list"),
    "blank": ("a.json", "\n \n", {"serde": JSON}, "lines are blank"),
    "a text where numbers were": (
        "a.json",
        Lake.json_lines() + Lake.json_lines([("u1", "i1", "soon", "view", 1)]),
        {"serde": JSON},
        "timestamp",
    ),
    "no parquet": ("a.parquet", Lake.csv(), {"serde": PARQUET_SERDE, "input_format": PARQUET}, "Parquet magic"),
    "times where Glue says number": (
        "a.parquet",
        parquet_file(times=pa.timestamp("ms")),
        {"serde": PARQUET_SERDE, "input_format": PARQUET},
        "'timestamp' has type timestamp[ms]",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_named(lake: Lake, name: str) -> None:
    key, body, table, expected = MALFORMED[name]
    lake.put(f"data/{key}", body)
    lake.table(**table)
    message = lake.refused(StatusCode.MALFORMED_FILE)
    assert lake.uri(f"data/{key}") in message
    assert expected in message


def test_many_malformed_files_are_reported_at_once(lake: Lake) -> None:
    for number in range(7):
        lake.put(f"data/{number}.csv", f"header\nbad {number}\n")
    lake.table(OPEN_CSV)
    message = lake.refused(StatusCode.MALFORMED_FILE)
    assert [f"data/{n}.csv" in message for n in range(7)] == [True] * 5 + [False] * 2
    assert "2 more files" in message
