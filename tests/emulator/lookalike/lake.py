"""Small training data in S3 and Glue, and the jobs that read it."""

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
#: A thousandth of the documented minimums: 1,000 interactions, 100 users, a seed of 2, an export of 10.
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


def build_rows(users: int = 120, each: int = 10) -> list[Row]:
    """Build interactions of users in four groups, each of which has its own twenty items."""
    return [
        (f"u{u:03d}", f"i{u % 4 * 20 + (7 * n + u) % 20}", START + 60 * n, ("view", "buy")[n % 2], n + 1)
        for u in range(users)
        for n in range(each)
    ]


def build_schema(roles: dict[str, str] = ROLES) -> list[dict[str, Any]]:
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

    def build_uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, body: bytes | str) -> None:
        self.s3.put_object(Bucket=self.name, Key=key, Body=body if isinstance(body, bytes) else body.encode())

    def get(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def list_keys(self, prefix: str) -> list[str]:
        listing = self.s3.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in listing.get("Contents", ())]

    @staticmethod
    def format_csv(table: Iterable[Sequence[Any]] | None = None, delimiter: str = ",", *, header: bool = True) -> str:
        lines = [",".join(COLUMNS).upper().replace(",", delimiter)] if header else []
        lines += [delimiter.join(map(str, row)) for row in (build_rows() if table is None else table)]
        return "\n".join(lines) + "\n"

    @staticmethod
    def format_json_lines(table: Iterable[Sequence[Any]] | None = None) -> str:
        table_rows = build_rows() if table is None else table
        return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in table_rows)

    def create_table(
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
        """Create a table of the files below ``data/``, by default CSV with a header line."""
        columns = COLUMNS if columns is None else columns
        descriptor = {
            "Columns": [{"Name": name, "Type": kind} for name, kind in columns.items()],
            "Location": self.build_uri("data/") if location is None else location,
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
        self.define_dataset()

    def define_dataset(self, roles: dict[str, str] = ROLES, **source: str) -> None:
        """Define the training dataset: the role of each column of the table."""
        data_source = {"tableName": "interactions", "databaseName": self.name, **source}
        self.dataset = {
            "type": "INTERACTIONS",
            "inputConfig": {"schema": build_schema(roles), "dataSource": {"glueDataSource": data_source}},
        }

    def train(
        self, start: datetime | None = None, end: datetime | None = None, rules: DataRules = RULES
    ) -> LookalikeModel:
        from airflow_cleanroomsml.emulator.lookalike.model import train

        self.model = train(self.glue, self.s3, dataset=self.dataset, start=start, end=end, rules=rules)
        return self.model

    def expect_training_failure(self, code: StatusCode, **kwargs: Any) -> str:
        """Train a model, which must fail with this code, and return the message."""
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
        min_matching_seed_size: int = 2,
        rules: DataRules = RULES,
        uri: str | None = None,
    ) -> GeneratedAudience:
        """Generate an audience from a seed, given as file content or as user ids."""
        if not isinstance(seed, str | bytes):
            seed = "".join(json.dumps({"user_id": user}) + "\n" for user in seed)
        if uri is None:
            self.put("seed/seed.jsonl", seed)
        assert self.model is not None
        from airflow_cleanroomsml.emulator.lookalike.audience import generate

        return generate(
            self.s3,
            self.model,
            seed_uri=uri or self.build_uri("seed/seed.jsonl"),
            sizes=sizes,
            include_seed=include_seed,
            min_matching_seed_size=min_matching_seed_size,
            rules=rules,
        )

    def expect_generation_failure(self, code: StatusCode, seed: str | bytes | Iterable[str] = "", **kwargs: Any) -> str:
        """Generate an audience, which must fail with this code, and return the message."""
        with pytest.raises(JobFailure) as caught:
            self.generate(seed, **kwargs)
        assert caught.value.status_code == code.value, caught.value
        return caught.value.message
