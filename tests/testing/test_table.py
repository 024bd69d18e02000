"""The data of a test as a Glue table, which the emulator reads as it reads a user's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_cleanroomsml.testing import RunningEmulator
from airflow_cleanroomsml.testing.table import encode
from tests.testing.lookalike import INTERACTIONS, describe_model, train


def write_csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write_file(rows: list[dict[str, Any]], folder: Path) -> Path:
    path = folder / "interactions.csv"
    path.write_text(write_csv(rows))
    return path


FORMS: dict[str, Callable[[list[dict[str, Any]], Path], Any]] = {
    "rows": lambda rows, _: rows,
    "generator": lambda rows, _: iter(rows),
    "text": lambda rows, _: write_csv(rows),
    "bytes": lambda rows, _: write_csv(rows).encode(),
    "path": write_file,
    "pandas": lambda rows, _: pytest.importorskip("pandas").DataFrame(rows),
    "pyarrow": lambda rows, _: pytest.importorskip("pyarrow").Table.from_pylist(rows),
}


@pytest.mark.parametrize("file_format", [None, "csv", "parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_a_model_is_trained_on_it(
    cleanroomsml: RunningEmulator, form: str, file_format: str | None, tmp_path: Path
) -> None:
    if file_format == "parquet" or form in ("pandas", "pyarrow"):
        pytest.importorskip("pyarrow")
    data = FORMS[form](INTERACTIONS, tmp_path)
    source = cleanroomsml.put_table("interactions", data, file_format=file_format)
    assert describe_model(cleanroomsml.account, train(cleanroomsml.account, source)) == ("ACTIVE", "")
    table = cleanroomsml.client("glue").get_table(DatabaseName="lookalike", Name="interactions")["Table"]
    expected = file_format or ("parquet" if form in ("pandas", "pyarrow") else "csv")
    assert table["Parameters"]["classification"] == expected
    columns = {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]}
    assert columns == {"user_id": "string", "item_id": "string", "timestamp": "bigint"}


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_types_are_inferred_from_values(file_format: str) -> None:
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    row = {"a": 1, "b": 1.5, "c": True, "d": "x", "e": when, "f": None}
    table = encode([row, {**row, "f": 2}], file_format)
    assert dict(table.columns) == dict(
        zip("abcdef", ["bigint", "double", "boolean", "string", "timestamp", "bigint"], strict=True)
    )


def test_a_type_can_be_chosen(cleanroomsml: RunningEmulator) -> None:
    source = cleanroomsml.put_table("interactions", INTERACTIONS, types={"timestamp": "int"})
    assert describe_model(cleanroomsml.account, train(cleanroomsml.account, source))[0] == "ACTIVE"
    with pytest.raises(ValueError, match="types: the table has no column time; columns: user_id, item_id, timestamp"):
        cleanroomsml.put_table("interactions", INTERACTIONS, types={"time": "int"})


def test_csv_uses_hives_spelling_of_values() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    body = encode([{"a": 'say "x", y', "b": None, "c": False, "d": when}]).body
    assert body.decode() == 'a,b,c,d\n"say ""x"", y",,false,2026-01-02 03:04:05.000000\n'


def test_a_table_is_replaced(cleanroomsml: RunningEmulator) -> None:
    few = INTERACTIONS[:10]
    model = train(cleanroomsml.account, cleanroomsml.put_table("interactions", few, location="s3://my-bucket/data"))
    status, message = describe_model(cleanroomsml.account, model)
    assert (status, "10 interactions" in message) == ("CREATE_FAILED", True)
    pytest.importorskip("pyarrow")
    cleanroomsml.put_table("interactions", INTERACTIONS, location="s3://my-bucket/data", file_format="parquet")
    keys = cleanroomsml.client("s3").list_objects_v2(Bucket="my-bucket", Prefix="data/")["Contents"]
    assert [entry["Key"] for entry in keys] == ["data/part-0.parquet"]


@pytest.mark.parametrize("data", [[], "", "user_id,item_id\n"])
def test_a_table_without_rows_is_rejected(data: Any) -> None:
    with pytest.raises(ValueError, match="no rows"):
        encode(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("interactions.csv", r"data is the text 'interactions.csv'.*the pathlib.Path of one"),
        ("/tmp/a,b.csv", r"data is the text '/tmp/a,b.csv'.*the pathlib.Path of one"),
        (b"PAR1\x15\x04\xff", r"data: byte 7 is not UTF-8; must be rows"),
        ("a,b\n1,2\n\n3\n", "data: line 4 has 1 value; the header has 2 columns"),
        ("a,b\n1,2,3\n", "data: line 2 has 3 values; the header has 2 columns"),
        ('a,b\n1,"2\n', "data: line 2 is not CSV"),
        ("a,A\n1,2\n", "data: the columns a, A have the same name; Hive ignores case"),
        ("a,\n1,2\n", "data: the name of column 2 is ''; must be a string"),
        ([{"a": 1}, {"b": 2}], "data: row 2 and row 1 differ in the columns a, b; give every row the same columns"),
        ([{"a": 1}, "b"], "data: row 2 is a string; must be rows"),
        ([{}], "data: the table has no columns"),
        ([{1: 1}], "data: the name of column 1 is 1; must be a string"),
        ({"a": [1, 2]}, "data is a dict; must be rows"),
        (None, "data is nothing; must be rows"),
        (1, "data is an int; must be rows"),
    ],
    ids=str,
)
@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_data_that_is_not_a_table_is_rejected(data: Any, problem: str, file_format: str) -> None:
    with pytest.raises(ValueError, match=problem):
        encode(data, file_format)


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_two_columns_with_the_same_name_are_rejected(library: str, file_format: str) -> None:
    module: Any = pytest.importorskip(library)
    names = ["a", "a"]
    data = module.DataFrame([[1, 2]], columns=names) if library == "pandas" else module.table([[1], [2]], names=names)
    with pytest.raises(ValueError, match="data: the columns a, a have the same name"):
        encode(data, file_format)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no-such-file\.csv"):
        encode(Path("no-such-file.csv"))


def test_a_byte_order_mark_is_not_part_of_a_column_name() -> None:
    assert list(encode("a,b\n1,2\n".encode("utf-8-sig")).columns) == ["a", "b"]


@pytest.mark.parametrize("glue_type", ["strng", "", "decimal(", "array<>"])
def test_an_unknown_type_is_rejected(glue_type: str) -> None:
    with pytest.raises(ValueError, match=r"types: user_id is '.*'; must be a Hive type, such as 'string'"):
        encode(INTERACTIONS, types={"user_id": glue_type})
    for known in ("varchar(10)", "decimal(10,2)", "array<string>", "struct<a:int>", "DATE"):
        assert encode(INTERACTIONS, types={"user_id": known}).columns["user_id"] == known


def test_a_string_is_not_a_list_of_ids(cleanroomsml: RunningEmulator) -> None:
    put_seed: Any = cleanroomsml.put_seed
    for data in ("u1", b"u1", Path("users.csv"), {"u1": 1}, None):
        with pytest.raises(ValueError, match="user_ids is .*; must be an iterable of user ids, such as a list of str"):
            put_seed(data)
    with pytest.raises(ValueError, match="user_ids: id 2 is nothing; must be a str or an int"):
        put_seed(["u1", None])


def test_an_unknown_format_is_rejected() -> None:
    with pytest.raises(ValueError, match="must be 'csv' or 'parquet'"):
        encode(INTERACTIONS, "orc")


@pytest.mark.parametrize("uri", ["my-bucket/seed.jsonl", "s3://my-bucket", "s3://my-bucket/seeds/"])
def test_a_uri_that_does_not_name_an_object_is_rejected(cleanroomsml: RunningEmulator, uri: str) -> None:
    with pytest.raises(ValueError, match="s3://|does not name an object"):
        cleanroomsml.put_seed(["u1"], uri)
