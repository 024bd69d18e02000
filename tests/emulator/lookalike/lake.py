"""Small training data in S3 and Glue, and what goes wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_cleanroomsml.emulator.lookalike import DataRules, JobFailure, StatusCode

if TYPE_CHECKING:
    from airflow_cleanroomsml.emulator.lookalike.audience import GeneratedAudience
    from airflow_cleanroomsml.emulator.lookalike.model import LookalikeModel

REGION = "us-east-1"
#: A thousandth of the documented minima: 1,000 interactions, 100 users, a seed of 2, an export of 10.
RULES = DataRules().scale(0.001)
START = 1_788_236_643
COLUMNS = {
    "user_id": "string",
    "item_id": "string",
    "timestamp": "bigint",
    "event_type": "string",
    "event_value": "int",
}
ROLES = {"user_id": "USER_ID", "item_id": "ITEM_ID", "timestamp": "TIMESTAMP"}
FEATURES = {"event_type": "CATEGORICAL_FEATURE", "event_value": "NUMERICAL_FEATURE"}

TEXT = "org.apache.hadoop.mapred.TextInputFormat"
PARQUET = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
OPEN_CSV = "org.apache.hadoop.hive.serde2.OpenCSVSerde"
LAZY = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"
JSON = "org.openx.data.jsonserde.JsonSerDe"
PARQUET_SERDE = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"

Row = tuple[Any, Any, Any, Any, Any]


def rows(users: int = 120, each: int = 10) -> list[Row]:
    """Users in four groups, each with twenty items of its own."""
    return [
        (f"u{u:03d}", f"i{u % 4 * 20 + (7 * n + u) % 20}", START + 60 * n, ("view", "buy")[n % 2], n + 1)
        for u in range(users)
        for n in range(each)
    ]


def schema(roles: dict[str, str] = ROLES) -> list[dict[str, Any]]:
    return [{"columnName": name, "columnTypes": [role]} for name, role in roles.items()]


@dataclass
class Lake:
    s3: Any
    glue: Any
    name: str
    dataset: dict[str, Any] = field(default_factory=dict)
    model: LookalikeModel | None = None

    def __post_init__(self) -> None:
        self.s3.create_bucket(Bucket=self.name)
        self.glue.create_database(DatabaseInput={"Name": self.name})

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, body: bytes | str) -> None:
        self.s3.put_object(Bucket=self.name, Key=key, Body=body if isinstance(body, bytes) else body.encode())

    def get(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str) -> list[str]:
        listing = self.s3.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in listing.get("Contents", ())]

    @staticmethod
    def csv(table: Iterable[Sequence[Any]] | None = None, delimiter: str = ",", *, header: bool = True) -> str:
        lines = [",".join(COLUMNS).upper().replace(",", delimiter)] if header else []
        lines += [delimiter.join(map(str, row)) for row in (rows() if table is None else table)]
        return "\n".join(lines) + "\n"

    @staticmethod
    def json_lines(table: Iterable[Sequence[Any]] | None = None) -> str:
        found = rows() if table is None else table
        return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in found)

    def table(
        self,
        serde: str = OPEN_CSV,
        serde_parameters: dict[str, str] | None = None,
        *,
        input_format: str = TEXT,
        parameters: dict[str, str] | None = None,
        columns: dict[str, str] | None = None,
        partition_keys: dict[str, str] | None = None,
        location: str | None = None,
    ) -> None:
        """Register a table of the files below ``data/``; by default CSV with a header line."""
        columns = COLUMNS if columns is None else columns
        descriptor = {
            "Columns": [{"Name": name, "Type": kind} for name, kind in columns.items()],
            "Location": self.uri("data/") if location is None else location,
            "InputFormat": input_format,
            "SerdeInfo": {"Parameters": serde_parameters or {}} | ({"SerializationLibrary": serde} if serde else {}),
        }
        self.glue.create_table(
            DatabaseName=self.name,
            TableInput={
                "Name": "interactions",
                "Parameters": {"skip.header.line.count": "1"} if parameters is None else parameters,
                "PartitionKeys": [{"Name": name, "Type": kind} for name, kind in (partition_keys or {}).items()],
                "StorageDescriptor": descriptor,
            },
        )
        self.describe()

    def describe(self, roles: dict[str, str] = ROLES, **source: str) -> None:
        """Say what the table's columns are."""
        data_source = {"tableName": "interactions", "databaseName": self.name, **source}
        self.dataset = {
            "type": "INTERACTIONS",
            "inputConfig": {"schema": schema(roles), "dataSource": {"glueDataSource": data_source}},
        }

    def train(
        self, start: datetime | None = None, end: datetime | None = None, rules: DataRules = RULES
    ) -> LookalikeModel:
        from airflow_cleanroomsml.emulator.lookalike.model import train

        self.model = train(self.glue, self.s3, dataset=self.dataset, start=start, end=end, rules=rules)
        return self.model

    def refused(self, code: StatusCode, **kwargs: Any) -> str:
        """Train in vain: why it failed."""
        with pytest.raises(JobFailure) as caught:
            self.train(**kwargs)
        assert caught.value.status_code == code.value, caught.value
        return caught.value.message

    def generate(
        self,
        seed: str | bytes | Iterable[str],
        sizes: Sequence[tuple[str, int]] = (("PERCENTAGE", 10),),
        *,
        include_seed: bool = False,
        least: int = 2,
        rules: DataRules = RULES,
        uri: str | None = None,
    ) -> GeneratedAudience:
        """Generate an audience from a seed: its content, or its user ids."""
        if not isinstance(seed, str | bytes):
            seed = "".join(json.dumps({"user_id": user}) + "\n" for user in seed)
        if uri is None:
            self.put("seed/seed.jsonl", seed)
        assert self.model is not None
        from airflow_cleanroomsml.emulator.lookalike.audience import generate

        return generate(
            self.s3,
            self.model,
            seed_uri=uri or self.uri("seed/seed.jsonl"),
            sizes=sizes,
            include_seed=include_seed,
            min_matching_seed_size=least,
            rules=rules,
        )

    def seed_refused(self, code: StatusCode, seed: str | bytes | Iterable[str] = "", **kwargs: Any) -> str:
        """Generate in vain: why it failed."""
        with pytest.raises(JobFailure) as caught:
            self.generate(seed, **kwargs)
        assert caught.value.status_code == code.value, caught.value
        return caught.value.message
