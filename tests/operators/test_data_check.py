"""The checks reject training data and seeds that a job would reject, by the same rule, and accept what a job accepts."""

from __future__ import annotations

import json
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from threading import Thread
from typing import Any, ClassVar

import boto3
import pytest
from airflow import DAG
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from airflow_cleanroomsml._compat import AirflowFailException
from airflow_cleanroomsml._training_data.role import Access, JobRole, simulate
from airflow_cleanroomsml._training_data.rules import Finding, Findings, InvalidDataError, Rule, Severity, withhold_ids
from airflow_cleanroomsml._training_data.statistics import Statistics, WrongUnit
from airflow_cleanroomsml._training_data.storage import Location, read
from airflow_cleanroomsml._training_data.table_check import check_role
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    ConfigurationError,
    DataCheckFailedError,
    InvalidRequestError,
    UnreachableError,
)
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCheckSeedAudienceOperator,
    CleanRoomsMLCheckTrainingDataOperator,
)
from tests.helpers.training_data import (
    BEGIN,
    PARQUET_FORMAT,
    PARQUET_SERDE,
    Row,
    TrainingData,
    build_rows,
    build_trust_policy,
    create_role,
    to_csv,
    to_parquet,
)
from tests.support import REGION, SCHEMA, Run, TaskInstance, World, make_client, run

HAS_PYARROW = find_spec("pyarrow") is not None
reads_files = pytest.mark.skipif(not HAS_PYARROW, reason="files are read with pyarrow")
#: The minimums in the emulator of the tests.
SMALL: dict[str, Any] = {"min_interactions": 1_000, "min_users": 100}


@pytest.fixture
def data(empty_world: World) -> TrainingData:
    return TrainingData(empty_world)


def check(**arguments: Any) -> Run:
    ti = arguments.pop("ti", None)
    operator = CleanRoomsMLCheckTrainingDataOperator(task_id="t", **{**SMALL, **arguments})
    return run(operator, **({"ti": ti} if ti else {}))


def find_errors(**arguments: Any) -> dict[str, dict[str, str]]:
    """Run a check that must fail, and return its errors by rule."""
    with pytest.raises(DataCheckFailedError) as caught:
        check(**arguments)
    return {finding["rule"]: finding for finding in caught.value.findings}


def scale_times(factor: int) -> list[Row]:
    return [(user, item, time * factor) for user, item, time in build_rows()]


@dataclass(frozen=True)
class Broken:
    """
    Training data that cannot be used.

    :param spoil: Function that spoils good data.
    :param rule: The rule of the finding.
    :param words: Words that the problem or the advice must contain.
    :param code: Status code of a training that fails because of it.
    :param statistics: Value of ``statistics`` that the check needs to find the problem.
    """

    spoil: Callable[[TrainingData], Any]
    rule: Rule
    words: tuple[str, ...]
    code: str
    statistics: str | None = None


def rename_column(data: TrainingData) -> None:
    data.columns = {"user_id": "string", "item": "string", "timestamp": "bigint"}
    data.recreate_table()


def change_type(data: TrainingData) -> None:
    data.columns["user_id"] = "double"
    data.recreate_table()


def replace_rows(build: Callable[[], list[Row]]) -> Callable[[TrainingData], None]:
    def put(data: TrainingData) -> None:
        rows = build()
        for day, part in zip(data.days, (rows[::2], rows[1::2]), strict=True):
            data.put(day, part)

    return put


def compress_with_zstd(data: TrainingData) -> None:
    data.serde, data.input_format = PARQUET_SERDE, PARQUET_FORMAT
    data.recreate_table()
    good = build_rows()
    for day, part in zip(data.days, (good[::2], good[1::2]), strict=True):
        data.clear(day)
        data.put(day, to_parquet(part, "zstd"), "part-0.zstd.parquet")


def move_to_other_region(data: TrainingData) -> None:
    data.bucket = f"{data.world.bucket}-other-region"
    s3 = make_client(
        "s3",
        endpoint_url=data.world.emulator.url,
        region_name="eu-west-1",
        aws_access_key_id=data.world.account,
        aws_secret_access_key="secret",
    )
    s3.create_bucket(Bucket=data.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    data.recreate_table()


def remove_trust(data: TrainingData) -> None:
    data.world.client("iam").update_assume_role_policy(
        RoleName="cleanrooms-ml", PolicyDocument=json.dumps(build_trust_policy("cleanrooms.amazonaws.com"))
    )


def archive(data: TrainingData, *days: str) -> None:
    """Move the files of these days, or of all, to an archive."""
    for day in days or data.days:
        key = f"interactions/day={day}/part-0.csv"
        source = {"Bucket": data.bucket, "Key": key}
        data.s3.copy_object(Bucket=data.bucket, Key=key, CopySource=source, StorageClass="DEEP_ARCHIVE")


BROKEN = {
    "archived": Broken(
        archive,
        Rule.OBJECT_ARCHIVED,
        ("2 files", "day=2026-01-01/part-0.csv", "DEEP_ARCHIVE", "restore"),
        "OBJECT_ARCHIVED",
    ),
    "missing column": Broken(
        rename_column,
        Rule.COLUMN_MISSING,
        ("'item_id'", "user_id, item, timestamp, day", "correct the schema"),
        "SCHEMA_MISMATCH",
    ),
    "wrong type": Broken(
        change_type,
        Rule.COLUMN_TYPE,
        ("'user_id' has type double", "string, int, bigint", "change the type"),
        "SCHEMA_MISMATCH",
    ),
    "milliseconds": Broken(
        replace_rows(lambda: scale_times(1000)),
        Rule.TIMESTAMP_NOT_EPOCH_SECONDS,
        ("2,000 of 2,000", "'timestamp'", "milliseconds", "divide by 1,000"),
        "TIMESTAMP_NOT_EPOCH_SECONDS",
        "files",
    ),
    "too few users": Broken(
        replace_rows(lambda: build_rows(99, 11)),
        Rule.INSUFFICIENT_USERS,
        ("99 users", "at least 100", "supply more"),
        "INSUFFICIENT_USERS",
        "files",
    ),
    "single interactions": Broken(
        replace_rows(lambda: build_rows(1_000, 1)),
        Rule.INSUFFICIENT_USERS,
        ("0 users with at least 2 interactions", "1,000 with fewer do not count"),
        "INSUFFICIENT_USERS",
        "files",
    ),
    "nulls": Broken(
        replace_rows(lambda: [("" if user == "u7" else user, item, time) for user, item, time in build_rows()]),
        Rule.MISSING_VALUES,
        ("10 of 2,000", "'user_id' (USER_ID)", "remove these interactions"),
        "MISSING_VALUES",
        "files",
    ),
    "ZSTD": Broken(
        compress_with_zstd, Rule.ZSTD_COMPRESSION, ("part-0.zstd.parquet", "Snappy or GZIP"), "MALFORMED_FILE", "files"
    ),
    "wrong region": Broken(
        move_to_other_region,
        Rule.BUCKET_IN_OTHER_REGION,
        ("eu-west-1", f"copy the data to a bucket in {REGION}"),
        "BUCKET_IN_OTHER_REGION",
    ),
    "role not assumable": Broken(
        remove_trust, Rule.ROLE_NOT_ASSUMABLE, ("cleanrooms-ml.amazonaws.com", "sts:AssumeRole"), "ACCESS_DENIED"
    ),
    "partition without files": Broken(
        lambda data: data.clear("2026-01-02"),
        Rule.PARTITION_EMPTY,
        ("only: 1 of 2", "day=2026-01-02", "drop these partitions"),
        "NO_TRAINING_FILES",
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=reads_files if BROKEN[name].statistics else ()) for name in BROKEN]
)
def test_check_finds_what_training_rejects(data: TrainingData, name: str) -> None:
    broken = BROKEN[name]
    create_role(data.world)
    broken.spoil(data.create())
    dataset = data.create_dataset()
    errors = find_errors(training_dataset_arn=dataset, statistics=broken.statistics)
    assert broken.rule.name in errors
    text = " ".join((errors[broken.rule.name]["problem"], errors[broken.rule.name]["advice"]))
    assert [words for words in broken.words if words not in text] == []
    assert "CreateAudienceModel" not in data.world.calls
    details = data.train(dataset)["statusDetails"]
    assert details["statusCode"] == broken.code
    assert errors[broken.rule.name]["problem"] in details["message"]


@reads_files
def test_restored_files_pass_check_and_training(data: TrainingData) -> None:
    create_role(data.world)
    dataset = data.create().create_dataset()
    archive(data)
    for day in data.days:
        data.s3.restore_object(Bucket=data.bucket, Key=f"interactions/day={day}/part-0.csv", RestoreRequest={"Days": 1})
    assert check(training_dataset_arn=dataset, statistics="files").result["errors"] == 0
    assert data.train(dataset)["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("error_fields", "tier"),
    [({"StorageClass": "GLACIER"}, "GLACIER"), ({"AccessTier": "DEEP_ARCHIVE_ACCESS"}, "DEEP_ARCHIVE_ACCESS")],
)
def test_archived_object_is_reported_as_such(error_fields: dict[str, str], tier: str) -> None:
    s3: Any = boto3.client("s3", region_name=REGION)
    with Stubber(s3) as stub:
        # A listing does not show the tiers of S3 Intelligent-Tiering, so only the read fails.
        stub.add_client_error("get_object", "InvalidObjectState", http_status_code=403, modeled_fields=error_fields)
        with pytest.raises(InvalidDataError) as caught:
            read(s3, Location("lake", "a.csv"))
    (finding,) = caught.value.findings
    assert finding.rule is Rule.OBJECT_ARCHIVED
    assert f"s3://lake/a.csv is archived in S3 ({tier})" in finding.problem


def test_archived_seed_is_reported_as_such(world: World) -> None:
    create_role(world)
    seed: Any = world.write_seed()
    bucket, _, key = seed["dataSource"]["s3Uri"].removeprefix("s3://").partition("/")
    source = {"Bucket": bucket, "Key": key}
    world.client("s3").copy_object(Bucket=bucket, Key=key, CopySource=source, StorageClass="GLACIER")
    errors = find_seed_errors(seed_audience=seed)
    assert set(errors) == {"OBJECT_ARCHIVED"}
    assert f"{key} is archived in S3 (GLACIER)" in errors["OBJECT_ARCHIVED"]["problem"]
    job = world.ml.start_audience_generation_job(
        name="j", configuredAudienceModelArn=world.create_configured_model(), seedAudience=seed
    )
    details = world.wait(job["audienceGenerationJobArn"])["statusDetails"]
    assert details["statusCode"] == "OBJECT_ARCHIVED"
    assert errors["OBJECT_ARCHIVED"]["problem"] in details["message"]


@reads_files
def test_good_data_is_accepted(data: TrainingData) -> None:
    create_role(data.world)
    dataset = data.create().create_dataset()
    report = check(training_dataset_arn=dataset, statistics="files").result
    assert (report["errors"], report["warnings"], report["findings"], report["files"]) == (0, 0, [], 2)
    assert report["statistics"] == {
        "rows": 2000,
        "missing": {"USER_ID": 0, "ITEM_ID": 0, "TIMESTAMP": 0},
        "wrong_timestamps": 0,
        "interactions": 2000,
        "users": 200,
        "users_with_two_interactions": 200,
        "duplicates": 0,
    }
    assert data.train(dataset)["status"] == "ACTIVE"


def test_data_can_be_checked_without_dataset(data: TrainingData) -> None:
    create_role(data.world)
    rename_column(data.create())
    errors = find_errors(training_data=data.data, role_arn=data.world.role)
    assert set(errors) == {"COLUMN_MISSING"}
    assert data.world.calls == []


def test_all_findings_are_reported_at_once_and_pushed(data: TrainingData) -> None:
    create_role(data.world, build_trust_policy("cleanrooms.amazonaws.com"))
    data.create()
    data.columns["timestamp"] = "string"
    rename_column(data)
    ti = TaskInstance()
    with pytest.raises(DataCheckFailedError) as caught:
        check(ti=ti, training_data=data.data, role_arn=data.world.role)
    assert [finding["rule"] for finding in caught.value.findings] == ["COLUMN_MISSING", "ROLE_NOT_ASSUMABLE"]
    report = ti.pushed["report"]
    assert report["errors"] == 2
    assert report["findings"] == caught.value.findings
    assert all(f"ERROR {finding['rule']}" in str(caught.value) for finding in report["findings"])


def test_rule_can_be_lowered_to_warning(data: TrainingData) -> None:
    create_role(data.world)
    data.create().clear("2026-01-02")
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role}
    report = check(**arguments, warn_only=["PARTITION_EMPTY"]).result
    assert [(finding["rule"], finding["severity"]) for finding in report["findings"]] == [
        ("PARTITION_EMPTY", "warning")
    ]
    with pytest.raises(InvalidRequestError, match="PARTITION_EMTPY"):
        check(**arguments, warn_only=["PARTITION_EMTPY"])


@pytest.mark.parametrize("statistics", [pytest.param("files", marks=reads_files), "athena"])
@pytest.mark.parametrize("spoil", [rename_column, change_type, move_to_other_region], ids=lambda each: each.__name__)
def test_rule_that_prevents_statistics_is_reported(
    data: TrainingData, spoil: Callable[[TrainingData], None], statistics: str
) -> None:
    create_role(data.world)
    spoil(data.create())
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role, "statistics": statistics}
    (rule,) = find_errors(**arguments)
    report = check(**arguments, warn_only=[rule]).result
    findings = {finding["rule"]: finding for finding in report["findings"]}
    assert (report["errors"], report["statistics"], set(findings)) == (0, None, {rule, "NOT_CHECKED"})
    assert findings["NOT_CHECKED"]["field"] == "statistics"
    assert f"could not be checked: {rule} prevents it" in findings["NOT_CHECKED"]["problem"]


@reads_files
def test_unreadable_files_are_not_skipped_silently(data: TrainingData) -> None:
    create_role(data.world)
    data.create(to_csv(build_rows()) + b"a,b,c\n", build_rows())
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role, "statistics": "files"}
    report = check(**arguments, warn_only=["MALFORMED_FILE"]).result
    assert [finding["rule"] for finding in report["findings"]] == ["MALFORMED_FILE", "NOT_CHECKED"]
    assert "MALFORMED_FILE prevents it" in report["findings"][1]["problem"]


def test_statistics_are_not_reported_unless_requested(data: TrainingData) -> None:
    create_role(data.world)
    rename_column(data.create())
    report = check(training_data=data.data, role_arn=data.world.role, warn_only=["COLUMN_MISSING"]).result
    assert [finding["rule"] for finding in report["findings"]] == ["COLUMN_MISSING"]
    assert report["files"] == 2


def test_wrong_schema_does_not_hide_missing_permission(data: TrainingData) -> None:
    create_role(data.world, build_trust_policy("glue.amazonaws.com"), "glue:*", "s3:ListBucket", "s3:GetBucketLocation")
    rename_column(data.create())
    errors = find_errors(training_data=data.data, role_arn=data.world.role)
    assert set(errors) == {"COLUMN_MISSING", "ROLE_NOT_ASSUMABLE", "ROLE_LACKS_PERMISSION"}
    assert "s3:GetObject" in errors["ROLE_LACKS_PERMISSION"]["problem"]


def test_other_region_does_not_hide_empty_partition(data: TrainingData) -> None:
    create_role(data.world)
    data.create().clear("2026-01-02")
    bucket = data.bucket
    data.days.insert(0, "2026-01-01b")
    move_to_other_region(data)
    data.bucket = bucket
    data.relocate_partition("2026-01-01", "2026-01-02")
    errors = find_errors(training_data=data.data, role_arn=data.world.role)
    assert set(errors) == {"BUCKET_IN_OTHER_REGION", "PARTITION_EMPTY"}
    assert "only: 1 of 3" in errors["PARTITION_EMPTY"]["problem"]


@reads_files
def test_declared_zstd_is_found_without_reading_files(data: TrainingData) -> None:
    create_role(data.world)
    compress_with_zstd(data.create())
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role}
    assert "the name of 1 file" in find_errors(**arguments)["ZSTD_DECLARED"]["problem"]
    data.recreate_table(**{"parquet.compression": "ZSTD"})
    assert "its property parquet.compression" in find_errors(**arguments)["ZSTD_DECLARED"]["problem"]


@reads_files
def test_files_override_declared_compression(data: TrainingData) -> None:
    create_role(data.world)
    data.serde, data.input_format = PARQUET_SERDE, PARQUET_FORMAT
    data.create(to_parquet(build_rows(), "snappy"), to_parquet(build_rows(), "gzip"))
    data.recreate_table(**{"parquet.compression": "ZSTD"})
    report = check(training_data=data.data, role_arn=data.world.role, statistics="files").result
    assert [finding["rule"] for finding in report["findings"]] == ["DUPLICATE_INTERACTIONS"]
    assert report["statistics"]["duplicates"] == 2000


@pytest.mark.parametrize(
    ("trust_policy", "words"),
    [
        (build_trust_policy("glue.amazonaws.com"), "assume it"),
        (build_trust_policy(StringEquals={"aws:SourceAccount": "999999999999"}), "condition"),
        (
            build_trust_policy(StringLike={"aws:SourceArn": "arn:aws:cleanrooms-ml:*:*:configured-audience-model/*"}),
            "condition",
        ),
        (
            {
                "Statement": [
                    *build_trust_policy()["Statement"],
                    {**build_trust_policy()["Statement"][0], "Effect": "Deny"},
                ]
            },
            "denies",
        ),
    ],
    ids=["another service", "another account", "another kind of resource", "denied"],
)
def test_unassumable_role_is_explained(data: TrainingData, trust_policy: dict[str, Any], words: str) -> None:
    create_role(data.world, {"Version": "2012-10-17", **trust_policy})
    data.create()
    errors = find_errors(training_data=data.data, role_arn=data.world.role)
    assert set(errors) == {"ROLE_NOT_ASSUMABLE"}
    assert words in errors["ROLE_NOT_ASSUMABLE"]["problem"]


def test_missing_role_is_named(data: TrainingData) -> None:
    data.create()
    errors = find_errors(training_data=data.data, role_arn=data.world.role)
    assert data.world.role in errors["ROLE_NOT_FOUND"]["problem"]
    dataset = data.create_dataset()
    before = data.world.emulator.change_settings(roles_must_exist=True)
    try:
        assert data.train(dataset)["statusDetails"]["statusCode"] == "ACCESS_DENIED"
    finally:
        data.world.emulator.change_settings(roles_must_exist=before["roles_must_exist"])


@pytest.mark.parametrize("code", ["Throttling", "ServiceFailure", "InternalFailure"])
def test_failure_of_iam_is_raised(code: str) -> None:
    iam = boto3.client("iam", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
    role = JobRole(
        "arn:aws:iam::123456789012:role/r", "arn:aws:cleanrooms-ml:us-east-1:123456789012:training-dataset/x"
    )
    access = Access(("s3:GetObject",), "arn:aws:s3:::lake/x", "the files")
    with Stubber(iam) as stub:
        stub.add_client_error("simulate_principal_policy", code)
        with pytest.raises(ClientError, match=code):
            simulate(iam, role, access, Findings())


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServiceException", "OperationTimeoutException"])
def test_failure_of_glue_is_raised(code: str) -> None:
    login: dict[str, Any] = {"region_name": REGION, "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    iam, glue = boto3.client("iam", **login), boto3.client("glue", **login)
    role = JobRole(
        "arn:aws:iam::123456789012:role/r", "arn:aws:cleanrooms-ml:us-east-1:123456789012:training-dataset/x"
    )
    with Stubber(iam) as iam_stub, Stubber(glue) as glue_stub:
        # The caller may not read the trust policy, which is another finding.
        iam_stub.add_client_error("get_role", "AccessDenied")
        glue_stub.add_client_error("get_database", code)
        with pytest.raises(ClientError, match=code):
            check_role(glue, iam, role, {"databaseName": "sales", "tableName": "events"}, (), Findings())


def test_missing_permissions_of_role_are_named(data: TrainingData) -> None:
    create_role(data.world, None, "glue:GetDatabase", "glue:GetTable", "s3:ListBucket", "s3:GetBucketLocation")
    data.create()
    with pytest.raises(DataCheckFailedError) as caught:
        check(training_data=data.data, role_arn=data.world.role)
    problems = [finding["problem"] for finding in caught.value.findings]
    assert len(problems) == 4
    assert sum("glue:GetPartitions on" in problem for problem in problems) == 3
    assert f"s3:GetObject on the files in bucket {data.bucket}" in problems[-1]
    assert data.train(data.create_dataset())["statusDetails"]["statusCode"] == "ACCESS_DENIED"


def test_missing_default_database_is_an_error(data: TrainingData) -> None:
    allowed = ("glue:GetDatabase", "glue:GetTable", "glue:GetPartitions", "s3:*")
    create_role(data.world, None, *allowed)
    data.create()
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role}
    assert check(**arguments).result["findings"] == []
    data.glue.delete_database(Name="default")
    assert set(find_errors(**arguments)) == {"DEFAULT_DATABASE_MISSING"}
    dataset = data.create_dataset()
    assert "named default" in data.train(dataset)["statusDetails"]["message"]


@reads_files
def test_single_interactions_and_duplicates_are_warnings(data: TrainingData) -> None:
    create_role(data.world)
    good = build_rows()
    data.create([*good, good[0]], [("alone", "i", BEGIN)])
    report = check(training_data=data.data, role_arn=data.world.role, statistics="files").result
    assert [finding["rule"] for finding in report["findings"]] == ["DUPLICATE_INTERACTIONS", "SINGLE_INTERACTIONS"]
    assert "1 of 201 users" in report["findings"][1]["problem"]


@reads_files
def test_findings_omit_values(data: TrainingData) -> None:
    create_role(data.world)
    data.create(to_csv(build_rows()) + b"secret-user,secret-item,secret-time\n", build_rows())
    errors = find_errors(training_data=data.data, role_arn=data.world.role, statistics="files")
    assert "day=2026-01-01/part-0.csv" in errors["MALFORMED_FILE"]["problem"]
    assert "secret" not in json.dumps(errors)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"role_arn": "r"}, {"training_dataset_arn": "a", "role_arn": "r"}],
    ids=["neither", "role", "both"],
)
def test_either_dataset_or_data_is_required(empty_world: World, arguments: dict[str, str]) -> None:
    arn = "arn:aws:cleanrooms-ml:us-east-1:123456789012:training-dataset/00000000-0000-4000-8000-000000000000"
    values = {"a": arn, "r": empty_world.role}
    with pytest.raises(InvalidRequestError, match="set either the ARN"):
        check(**{name: values[value] for name, value in arguments.items()})


def test_check_rendered_to_none_is_rejected(empty_world: World) -> None:
    arn = "arn:aws:cleanrooms-ml:us-east-1:123456789012:training-dataset/00000000-0000-4000-8000-000000000000"
    with pytest.raises(InvalidRequestError, match="statistics: None, although the Dag sets it"):
        check(training_dataset_arn=arn, statistics="{{ none }}")
    seed: Any = {"dataSource": {"s3Uri": "s3://seeds/a"}, "roleArn": empty_world.role}
    sized: Any = {"min_matching_seed_size": "{{ none }}"}
    with pytest.raises(InvalidRequestError, match="min_matching_seed_size: None, although the Dag sets it"):
        run(CleanRoomsMLCheckSeedAudienceOperator(task_id="t", seed_audience=seed, **sized))
    assert empty_world.calls == []


def test_only_dag_can_disable_statistics(data: TrainingData) -> None:
    create_role(data.world)
    data.create()
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role}
    assert check(**arguments, statistics=None).result["statistics"] is None
    advice = "to omit it, set statistics=None in the Dag"
    with pytest.raises(InvalidRequestError, match=advice):
        check(**arguments, statistics="{{ none }}")
    native = {"dag": DAG("d", schedule=None, render_template_as_native_obj=True)}
    with pytest.raises(InvalidRequestError, match=advice):
        check(**arguments, statistics="{{ none }}", **native)
    # None in the list of a mapped task disables them too.
    with DAG("mapped", schedule=None):
        mapped = CleanRoomsMLCheckTrainingDataOperator.partial(task_id="t", **SMALL, **arguments).expand(
            statistics=[None]
        )
    unmapped: Any = mapped.unmap({"statistics": None})
    assert run(unmapped).result["statistics"] is None


@pytest.mark.skipif(HAS_PYARROW, reason="pyarrow is installed")
def test_missing_pyarrow_names_extra(data: TrainingData) -> None:
    with pytest.raises(ConfigurationError, match=r"airflow-provider-cleanroomsml\[files\]"):
        check(training_data=data.data, role_arn=data.world.role, statistics="files")


def queue_result(world: World, row: Statistics) -> None:
    """Queue the result of the next query, because moto does not run queries."""
    units = {unit.name.lower(): 0 for unit in WrongUnit}
    numbers = {
        "interactions": row.rows,
        "without_user": row.missing["USER_ID"],
        "without_item": row.missing["ITEM_ID"],
        "without_time": row.missing["TIMESTAMP"],
        "complete": row.complete,
        "users": row.users,
        "active_users": row.active_users,
        "duplicates": row.duplicates,
        "inside": row.interactions,
        "users_inside": row.users,
        "active_users_inside": row.active_users,
        **units,
        **{unit.name.lower(): count for unit, count in row.wrong_times.items()},
    }
    cells = [[{"VarCharValue": name} for name in numbers], [{"VarCharValue": str(value)} for value in numbers.values()]]
    body = {
        "account_id": world.account,
        "region": REGION,
        "results": [{"rows": [{"Data": data} for data in cells], "column_info": []}],
    }
    request = urllib.request.Request(
        f"{world.emulator.url}/moto-api/static/athena/query-results", json.dumps(body).encode()
    )
    with urllib.request.urlopen(request) as reply:
        assert reply.status == 201


def test_athena_counts_billions(data: TrainingData) -> None:
    create_role(data.world)
    dataset = data.create().create_dataset()
    missing = {"USER_ID": 0, "ITEM_ID": 0, "TIMESTAMP": 12}
    complete = 4_999_999_988
    statistics = Statistics(5_000_000_000, missing, complete, {WrongUnit.MILLISECONDS: 7}, complete, 10**8, 99_000, 3)
    queue_result(data.world, statistics)
    errors = find_errors(
        training_dataset_arn=dataset,
        statistics="athena",
        min_users=100_000,
        athena_output_location=f"s3://{data.bucket}/athena/",
    )
    assert set(errors) == {"MISSING_VALUES", "TIMESTAMP_NOT_EPOCH_SECONDS", "INSUFFICIENT_USERS"}
    assert "12 of 5,000,000,000 interactions" in errors["MISSING_VALUES"]["problem"]
    athena = data.world.client("athena")
    (query_id,) = athena.list_query_executions()["QueryExecutionIds"]
    query = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
    assert query["QueryExecutionContext"] == {"Database": "lookalike", "Catalog": "AwsDataCatalog"}
    assert query["ResultConfiguration"]["OutputLocation"].startswith(f"s3://{data.bucket}/athena/")
    assert query["Query"].count('FROM "lookalike"."interactions"') == 1


def list_query_catalogs(world: World) -> list[str]:
    athena = world.client("athena")
    ids = athena.list_query_executions()["QueryExecutionIds"]
    queries = [athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"] for query_id in ids]
    return [query["QueryExecutionContext"]["Catalog"] for query in queries]


def test_athena_never_queries_same_table_in_another_catalog(data: TrainingData) -> None:
    create_role(data.world)
    training_data = data.create().data
    source = training_data[0]["inputConfig"]["dataSource"]["glueDataSource"]
    arguments: dict[str, Any] = {"training_data": training_data, "role_arn": data.world.role, "statistics": "athena"}
    source["catalogId"] = "210987654321"
    report = check(**arguments).result
    assert (report["statistics"], list_query_catalogs(data.world)) == (None, [])
    (finding,) = report["findings"]
    assert (finding["rule"], finding["field"]) == ("NOT_CHECKED", "athena_catalog")
    assert "AwsDataCatalog is not the Glue catalog of account 210987654321" in finding["problem"]
    good = Statistics(2_000, {"USER_ID": 0, "ITEM_ID": 0, "TIMESTAMP": 0}, 2_000, {}, 2_000, 200, 200, 0)
    queue_result(data.world, good)
    assert check(**arguments, athena_catalog="owner").result["statistics"]["rows"] == 2_000
    source["catalogId"] = data.world.account
    queue_result(data.world, good)
    assert check(**arguments).result["statistics"]["rows"] == 2_000
    assert sorted(list_query_catalogs(data.world)) == ["AwsDataCatalog", "owner"]


def test_table_of_another_account_is_named_with_catalog(data: TrainingData) -> None:
    create_role(data.world)
    training_data = data.create().data
    training_data[0]["inputConfig"]["dataSource"]["glueDataSource"].update(catalogId="210987654321", tableName="no")
    with pytest.raises(DataCheckFailedError, match=r"Glue table 210987654321/lookalike\.no: 1 error") as caught:
        check(training_data=training_data, role_arn=data.world.role)
    assert "Glue table 210987654321/lookalike.no does not exist" in caught.value.findings[0]["problem"]


def test_killed_task_stops_its_query(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_cleanroomsml._data_checks.athena_query._POLL_SECONDS", 1)
    create_role(data.world)
    operator = CleanRoomsMLCheckTrainingDataOperator(
        task_id="t", training_data=data.create().data, role_arn=data.world.role, statistics="athena", **SMALL
    )
    athena = data.world.client("athena")

    def kill_while_the_query_runs() -> None:
        states = set[str]()
        while states != {"CANCELLED"}:
            ids = athena.list_query_executions()["QueryExecutionIds"]
            operator.on_kill()
            states = {
                athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]["Status"]["State"]
                for query_id in ids
            }

    with keep_queries_running(data.world), ThreadPoolExecutor(1) as pool:
        killer = pool.submit(kill_while_the_query_runs)
        # A cancelled query says nothing about the data, no matter who cancelled it.
        with pytest.raises(CleanRoomsMLError, match="a retry may succeed.*CANCELLED") as caught:
            run(operator)
        killer.result()
    assert not isinstance(caught.value, AirflowFailException)


class FailingAthena(BaseHTTPRequestHandler):
    """An Athena whose queries end with the given status, because those of moto never fail."""

    status: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        query: dict[str, Any] = {"QueryExecutionId": "q-1"}
        if self.headers["X-Amz-Target"].endswith("GetQueryExecution"):
            query = {"QueryExecution": {**query, "Status": self.status}}
        body = json.dumps(query).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def run_failing_athena(monkeypatch: pytest.MonkeyPatch, status: dict[str, Any]) -> Iterator[None]:
    handler = type("Handler", (FailingAthena,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_ATHENA", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


SYSTEM, USER = {"ErrorCategory": 1}, {"ErrorCategory": 2}


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        ({}, True),
        ({**USER, "ErrorType": 1000}, True),
        ({**USER, "ErrorType": 1000, "Retryable": False}, True),
        ({**SYSTEM, "ErrorType": 100}, False),
        ({**SYSTEM, "ErrorType": 100, "Retryable": True}, False),
        # Retryable takes precedence over the category.
        ({**SYSTEM, "ErrorType": 100, "Retryable": False}, True),
        ({**USER, "ErrorType": 1, "Retryable": True}, False),
        ({**USER, "ErrorType": 1}, False),
        ({"ErrorType": 8}, False),
        ({"ErrorType": 9}, True),
    ],
)
def test_only_failures_of_athena_are_retried(
    data: TrainingData, monkeypatch: pytest.MonkeyPatch, error: dict[str, Any], is_final: bool
) -> None:
    create_role(data.world)
    status: dict[str, Any] = {"State": "FAILED", "StateChangeReason": "HIVE_BAD_DATA: value 'secret'"}
    arguments = {"training_data": data.create().data, "role_arn": data.world.role, "statistics": "athena"}
    status |= {"AthenaError": {**error, "ErrorMessage": "value 'secret'"}} if error else {}
    with run_failing_athena(monkeypatch, status), pytest.raises(CleanRoomsMLError, match="HIVE_BAD_DATA") as caught:
        check(**arguments)
    assert isinstance(caught.value, DataCheckFailedError) is is_final
    assert isinstance(caught.value, AirflowFailException) is is_final
    assert ("a retry may succeed" in str(caught.value)) is not is_final
    assert "secret" not in str(caught.value)
    if "ErrorType" in error:
        assert f"error type {error['ErrorType']}" in str(caught.value)


def test_query_can_take_longer_than_hook_waits(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_cleanroomsml._data_checks.athena_query._POLL_SECONDS", 0.001)
    create_role(data.world)
    data.create()
    missing = {"USER_ID": 0, "ITEM_ID": 0, "TIMESTAMP": 0}
    queue_result(data.world, Statistics(2000, missing, 2000, {}, 2000, 200, 200, 0))
    with keep_queries_running(data.world, polls=150):
        report = check(training_data=data.data, role_arn=data.world.role, statistics="athena").result
    assert report["statistics"]["users"] == 200


@contextmanager
def keep_queries_running(world: World, polls: int = 10_000) -> Iterator[None]:
    set_transition(world, {"progression": "manual", "times": polls})
    yield
    set_transition(world, {"progression": "immediate"})


def set_transition(world: World, transition: dict[str, Any]) -> None:
    """Set how the status of moto's Athena queries changes."""
    body = json.dumps({"model_name": "athena::execution", "transition": transition}).encode()
    url = f"{world.emulator.url}/moto-api/state-manager/set-transition"
    with urllib.request.urlopen(urllib.request.Request(url, body)) as reply:
        assert reply.status == 201


def connect(world: World, monkeypatch: pytest.MonkeyPatch, **extra: str) -> None:
    """Give ``aws_default`` the login of an account."""
    extra |= {"region_name": REGION, "endpoint_url": world.emulator.url}
    connection = {"conn_type": "aws", "login": world.account, "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))


def test_session_token_with_line_break_is_not_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(world, monkeypatch, aws_session_token="confidential\ntoken")
    seed = world.write_seed()
    checks: list[Callable[[], Run]] = [
        partial(check, training_data=world.build_training_data(), role_arn=world.role),
        partial(check_seed, seed_audience=seed),
    ]
    for run_check in checks:
        with pytest.raises(CleanRoomsMLError, match="A header has a line break") as caught:
            run_check()
        assert "confidential" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None
        assert not isinstance(caught.value, UnreachableError)


def test_missing_credentials_are_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(CleanRoomsMLError, match="The connection has no login") as caught:
        check(training_data=world.build_training_data(), role_arn=world.role)
    assert not isinstance(caught.value, UnreachableError)


def check_seed(**more: Any) -> Run:
    arguments: dict[str, Any] = {"min_seed_size": 2, **more}
    return run(CleanRoomsMLCheckSeedAudienceOperator(task_id="t", **arguments))


def find_seed_errors(**arguments: Any) -> dict[str, dict[str, str]]:
    with pytest.raises(DataCheckFailedError) as caught:
        check_seed(**arguments)
    return {finding["rule"]: finding for finding in caught.value.findings}


def put_seed(world: World, body: bytes) -> dict[str, Any]:
    world.client("s3").put_object(Bucket=world.bucket, Key="seed/spoilt.jsonl", Body=body)
    return {"dataSource": {"s3Uri": f"s3://{world.bucket}/seed/spoilt.jsonl"}, "roleArn": world.role}


def test_good_seed_passes_and_is_counted(world: World) -> None:
    create_role(world)
    assert check_seed(seed_audience=world.write_seed()).result == {
        "errors": 0,
        "warnings": 0,
        "findings": [],
        "users": 30,
    }
    report = check_seed(seed_audience=world.write_seed(["a", "b", "a"])).result
    assert [finding["rule"] for finding in report["findings"]] == ["SEED_REPEATS"]


@pytest.mark.parametrize(
    ("body", "rule", "words"),
    [
        (b"", "SEED_EMPTY", "at least 2"),
        (b'{"user_id": "secret"}\n', "SEED_TOO_SMALL", "ids in the seed: 1"),
        (b"user_id\nsecret\n", "SEED_MALFORMED", "line 1: not JSON"),
        (b'{"secret": 1}\n', "SEED_MALFORMED", 'line 1: "user_id" is missing'),
        (b'{"user_id": ["secret"]}\n', "SEED_MALFORMED", "must be an integer or a string that is not empty"),
        (b"PAR1secret\xff", "SEED_MALFORMED", "not UTF-8"),
        (b'{"user_id": ' + b"[" * 100_000, "SEED_MALFORMED", "line 1: not JSON"),
    ],
    ids=["empty", "too small", "CSV", "other members", "list", "Parquet", "deeply nested list"],
)
def test_check_finds_seed_that_job_rejects(world: World, body: bytes, rule: str, words: str) -> None:
    create_role(world)
    seed = put_seed(world, body)
    errors = find_seed_errors(seed_audience=seed)
    assert words in errors[rule]["problem"]
    assert "secret" not in json.dumps(errors)
    job = world.ml.start_audience_generation_job(
        name="job", configuredAudienceModelArn=world.create_configured_model(), seedAudience=seed
    )
    details = world.wait(job["audienceGenerationJobArn"])["statusDetails"]
    assert details["statusCode"] == rule


def test_seed_that_is_too_large_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    create_role(world)
    folder = f"s3://{world.bucket}/seed/"
    sizes = []
    for _ in range(4):
        key = world.write_seed()["dataSource"]["s3Uri"].removeprefix(f"s3://{world.bucket}/")
        sizes.append(world.client("s3").head_object(Bucket=world.bucket, Key=key)["ContentLength"])
    seed = {"dataSource": {"s3Uri": folder}, "roleArn": world.role}
    module = "airflow_cleanroomsml._data_checks.seed._MOST_SEED_BYTES"
    monkeypatch.setattr(module, sum(sizes))
    assert check_seed(seed_audience=seed).result["users"] == 30
    monkeypatch.setattr(module, sum(sizes) - 1)
    report = check_seed(seed_audience=seed, min_matching_seed_size=31).result
    assert (report["users"], report["errors"]) == (None, 0)
    (finding,) = report["findings"]
    assert (finding["rule"], finding["field"]) == ("NOT_CHECKED", "s3Uri")
    assert f"The seed at {folder} could not be checked: its files total more than" in finding["problem"]


def test_seed_that_cannot_match_enough_is_rejected(world: World) -> None:
    create_role(world)
    arguments = {"seed_audience": world.write_seed(), "min_matching_seed_size": 31}
    assert "ids in the seed: 30; at least 31" in find_seed_errors(**arguments)["SEED_CANNOT_MATCH"]["problem"]
    check_seed(**{**arguments, "min_matching_seed_size": 30})


def test_missing_seed_and_bad_role_are_reported_together(empty_world: World) -> None:
    empty_world.create_bucket()
    create_role(empty_world, build_trust_policy("glue.amazonaws.com"))
    seed = {"dataSource": {"s3Uri": f"s3://{empty_world.bucket}/nowhere.jsonl"}, "roleArn": empty_world.role}
    assert set(find_seed_errors(seed_audience=seed)) == {"SEED_NOT_FOUND", "ROLE_NOT_ASSUMABLE"}


def test_only_role_of_sql_seed_is_checked(empty_world: World) -> None:
    create_role(empty_world)
    seed = {"sqlParameters": {"queryString": "SELECT secret FROM users"}, "roleArn": empty_world.role}
    report = check_seed(seed_audience=seed).result
    assert [finding["rule"] for finding in report["findings"]] == ["NOT_CHECKED"]
    assert "secret" not in json.dumps(report)


@pytest.mark.parametrize("bucket", ["bad bucket!", "bücket", "b" * 300])
def test_impossible_bucket_is_reported(world: World, bucket: str) -> None:
    create_role(world)
    seed = {"dataSource": {"s3Uri": f"s3://{bucket}/seed.jsonl"}, "roleArn": world.role}
    assert bucket in find_seed_errors(seed_audience=seed)["BUCKET_NOT_FOUND"]["problem"]


@pytest.mark.parametrize("name", [["SEED_TOO_SMALL"], {}, None, 5], ids=str)
def test_unknown_rule_is_named(empty_world: World, name: Any) -> None:
    seed = {"sqlParameters": {"queryString": "SELECT user_id FROM users"}, "roleArn": empty_world.role}
    with pytest.raises(InvalidRequestError, match=r"warn_only: .* unknown rule.*; allowed: "):
        check_seed(seed_audience=seed, warn_only=[name])


@pytest.mark.parametrize("lines", ["yes", "", "-1", "1.0"])
def test_invalid_number_of_header_lines_is_reported(data: TrainingData, lines: str) -> None:
    create_role(data.world)
    data.create().recreate_table(**{"skip.header.line.count": lines})
    problem = find_errors(training_data=data.data, role_arn=data.world.role)["FORMAT_NOT_SUPPORTED"]["problem"]
    assert f"skip.header.line.count is {lines!r}" in problem


@reads_files
def test_file_of_one_long_line_is_reported(data: TrainingData) -> None:
    create_role(data.world)
    data.create(b"x" * 200_000, build_rows())
    errors = find_errors(training_data=data.data, role_arn=data.world.role, statistics="files")
    assert "part-0.csv cannot be read" in errors["MALFORMED_FILE"]["problem"]


@reads_files
def test_interactions_outside_window_do_not_count(data: TrainingData) -> None:
    create_role(data.world)
    data.create()
    errors = find_errors(
        training_data=data.data,
        role_arn=data.world.role,
        statistics="files",
        training_data_end_time=datetime.fromtimestamp(BEGIN + 99 * 60, timezone.utc),
    )
    assert "99 users with at least 2 interactions in the training window" in errors["INSUFFICIENT_USERS"]["problem"]
    assert "of 2,000 supplied" in errors["INSUFFICIENT_USERS"]["problem"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "File s3://b/t/user_id=ann@example.com/part-0 cannot be read",
            "File s3://b/t/user_id=***/part-0 cannot be read",
        ),
        ("no files at s3://b/t/User_ID=ann%40example.com/", "no files at s3://b/t/User_ID=***/"),
        ("no files at s3://b/t/item_id=42 or elsewhere", "no files at s3://b/t/item_id=*** or elsewhere"),
        ("File s3://b/t/user_id=Ann Lee/day=2026-01-01/f", "File s3://b/t/user_id=***/day=2026-01-01/f"),
        ("File s3://b/t/day=2026-01-01/f", "File s3://b/t/day=2026-01-01/f"),
    ],
)
def test_locations_show_no_ids(text: str, expected: str) -> None:
    finding = Finding(Rule.MALFORMED_FILE, "files", text, text, Severity.ERROR)
    (withheld,) = withhold_ids([finding], SCHEMA)
    assert (withheld.problem, withheld.advice) == (expected, expected)


@reads_files
def test_partitions_by_user_show_no_ids(data: TrainingData) -> None:
    create_role(data.world)
    data.create()
    data.schema = [
        {"columnName": "day", "columnTypes": ["USER_ID"]},
        *[column for column in data.schema if column["columnTypes"] != ["USER_ID"]],
    ]
    for day in data.days:
        data.put(day, b"\xff\xfe broken")
    errors = find_errors(training_data=data.data, role_arn=data.world.role, statistics="files")
    assert errors
    assert [day for day in data.days if day in json.dumps(errors)] == []
