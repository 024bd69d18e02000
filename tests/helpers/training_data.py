"""A valid training dataset and its role, in which tests introduce errors."""

from __future__ import annotations

import io
import json
from typing import Any

from tests.support import SCHEMA, World

SERVICE = "cleanrooms-ml.amazonaws.com"
BEGIN = 1_760_000_000
PARQUET_SERDE = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
PARQUET_FORMAT = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
Row = tuple[str, str, int]


def build_trust_policy(service: str = SERVICE, **condition: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if condition:
        statement["Condition"] = condition
    return {"Version": "2012-10-17", "Statement": [statement]}


def create_role(world: World, trust_policy: dict[str, Any] | None = None, *actions: str) -> None:
    """
    Create the role of the world, as the user guide describes it (ml-roles).

    :param trust_policy: Its trust policy; that of the user guide if None.
    :param actions: What it may do; what the user guide lists if empty.
    """
    iam = world.client("iam")
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}"
    guarded = build_trust_policy(
        StringEquals={"aws:SourceAccount": world.account},
        StringLike={"aws:SourceArn": [f"{arn}:training-dataset/*", f"{arn}:audience-generation-job/*"]},
    )
    iam.create_role(RoleName="cleanrooms-ml", AssumeRolePolicyDocument=json.dumps(trust_policy or guarded))
    statement = {"Effect": "Allow", "Action": actions or ("glue:*", "s3:Get*", "s3:ListBucket"), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="cleanrooms-ml", PolicyName="reads", PolicyDocument=document)


def build_rows(users: int = 200, each: int = 10) -> list[Row]:
    return [
        (f"u{user}", f"i{user % 2}-{turn}", BEGIN + user * 60 + turn) for user in range(users) for turn in range(each)
    ]


class TrainingData:
    """
    A Glue table in a database ``lookalike``, partitioned by day, and its files.

    :param world: Account that it belongs to.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.s3, self.glue = world.client("s3"), world.client("glue")
        self.columns = {"user_id": "string", "item_id": "string", "timestamp": "bigint"}
        self.schema = SCHEMA
        self.serde = "org.apache.hadoop.hive.serde2.OpenCSVSerde"
        self.input_format = "org.apache.hadoop.mapred.TextInputFormat"
        self.days = ["2026-01-01", "2026-01-02"]
        self.bucket = world.bucket

    def create(self, *parts: list[Row] | bytes) -> TrainingData:
        """
        Create bucket, database, table and a partition for each day.

        :param parts: The rows, or the content, of each day's file; good rows if there are none.
        """
        world = self.world
        world.create_bucket()
        self.glue.create_database(DatabaseInput={"Name": "lookalike"})
        self.glue.create_database(DatabaseInput={"Name": "default"})
        good = build_rows()
        self.create_table()
        for day, part in zip(self.days, parts or (good[::2], good[1::2]), strict=True):
            self.put(day, part)
        return self

    def create_table(self, **parameters: str) -> None:
        """Create the table and its partitions."""
        keys = [{"Name": "day", "Type": "string"}]
        self.glue.create_table(
            DatabaseName="lookalike",
            TableInput={
                "Name": "interactions",
                "StorageDescriptor": self._describe_storage(""),
                "PartitionKeys": keys,
                "Parameters": parameters,
            },
        )
        for day in self.days:
            partition = {"Values": [day], "StorageDescriptor": self._describe_storage(f"day={day}/")}
            self.glue.create_partition(DatabaseName="lookalike", TableName="interactions", PartitionInput=partition)

    def recreate_table(self, **parameters: str) -> None:
        """Create the table again, with other columns or another format."""
        self.glue.delete_table(DatabaseName="lookalike", Name="interactions")
        self.create_table(**parameters)

    def relocate_partition(self, *days: str) -> None:
        """Move the partitions of these days to the bucket that is now set."""
        for day in days:
            partition = {"Values": [day], "StorageDescriptor": self._describe_storage(f"day={day}/")}
            of = {"DatabaseName": "lookalike", "TableName": "interactions", "PartitionValueList": [day]}
            self.glue.update_partition(**of, PartitionInput=partition)

    def put(self, day: str, part: list[Row] | bytes, name: str = "part-0.csv") -> None:
        """Write the file of a day."""
        key = f"interactions/day={day}/{name}"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=part if isinstance(part, bytes) else to_csv(part))

    def clear(self, day: str) -> None:
        """Delete the file of a day."""
        self.s3.delete_object(Bucket=self.bucket, Key=f"interactions/day={day}/part-0.csv")

    @property
    def data(self) -> Any:
        """``trainingData`` of CreateTrainingDataset."""
        source = {"glueDataSource": {"databaseName": "lookalike", "tableName": "interactions"}}
        return [{"type": "INTERACTIONS", "inputConfig": {"schema": self.schema, "dataSource": source}}]

    def create_dataset(self) -> str:
        """Create the training dataset; return its ARN."""
        made = self.world.ml.create_training_dataset(name="data", roleArn=self.world.role, trainingData=self.data)
        return str(made["trainingDatasetArn"])

    def train(self, dataset: str) -> dict[str, Any]:
        """Train a model, and return it."""
        made = self.world.ml.create_audience_model(name="model", trainingDatasetArn=dataset)
        return self.world.wait(made["audienceModelArn"])

    def _describe_storage(self, prefix: str) -> dict[str, Any]:
        return {
            "Columns": [{"Name": name, "Type": kind} for name, kind in self.columns.items()],
            "Location": f"s3://{self.bucket}/interactions/{prefix}",
            "InputFormat": self.input_format,
            "SerdeInfo": {"SerializationLibrary": self.serde},
        }


def to_csv(part: list[Row]) -> bytes:
    return "".join(f"{user},{item},{time}\n" for user, item, time in part).encode()


def to_parquet(part: list[Row], compression: str) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    users, items, times = zip(*part, strict=True)
    out = io.BytesIO()
    parquet.write_table(
        pa.table({"user_id": users, "item_id": items, "timestamp": times}), out, compression=compression
    )
    return out.getvalue()
