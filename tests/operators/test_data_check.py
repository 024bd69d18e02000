"""Training data and seeds that a job would refuse are refused before, with the same rule; what is good passes both."""

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
#: The minimums of the emulator of the tests.
SMALL: dict[str, Any] = {"min_interactions": 1_000, "min_users": 100}


@pytest.fixture
def data(empty_world: World) -> TrainingData:
    return TrainingData(empty_world)


def check(**arguments: Any) -> Run:
    ti = arguments.pop("ti", None)
    operator = CleanRoomsMLCheckTrainingDataOperator(task_id="t", **{**SMALL, **arguments})
    return run(operator, **({"ti": ti} if ti else {}))


def refuse(**arguments: Any) -> dict[str, dict[str, str]]:
    """Check in vain; the errors by rule."""
    with pytest.raises(DataCheckFailedError) as caught:
        check(**arguments)
    return {finding["rule"]: finding for finding in caught.value.findings}


def with_times(factor: int) -> list[Row]:
    return [(user, item, time * factor) for user, item, time in build_rows()]


@dataclass(frozen=True)
class Broken:
    """
    A training set that cannot be used.

    :param spoil: Spoils good data.
    :param rule: The rule of the finding.
    :param told: Words of the problem and the advice.
    :param code: Status code of a training.
    :param statistics: How to find out.
    """

    spoil: Callable[[TrainingData], Any]
    rule: Rule
    told: tuple[str, ...]
    code: str
    statistics: str | None = None


def lose_column(data: TrainingData) -> None:
    data.columns = {"user_id": "string", "item": "string", "timestamp": "bigint"}
    data.recreate_table()


def change_type(data: TrainingData) -> None:
    data.columns["user_id"] = "double"
    data.recreate_table()


def put_all(part: Callable[[], list[Row]]) -> Callable[[TrainingData], None]:
    def put(data: TrainingData) -> None:
        found = part()
        for day, some in zip(data.days, (found[::2], found[1::2]), strict=True):
            data.put(day, some)

    return put


def compress(data: TrainingData) -> None:
    data.serde, data.input_format = PARQUET_SERDE, PARQUET_FORMAT
    data.recreate_table()
    good = build_rows()
    for day, part in zip(data.days, (good[::2], good[1::2]), strict=True):
        data.clear(day)
        data.put(day, to_parquet(part, "zstd"), "part-0.zstd.parquet")


def move_abroad(data: TrainingData) -> None:
    data.bucket = f"{data.world.bucket}-abroad"
    abroad = make_client(
        "s3",
        endpoint_url=data.world.emulator.url,
        region_name="eu-west-1",
        aws_access_key_id=data.world.account,
        aws_secret_access_key="secret",
    )
    abroad.create_bucket(Bucket=data.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    data.recreate_table()


def distrust(data: TrainingData) -> None:
    data.world.client("iam").update_assume_role_policy(
        RoleName="cleanrooms-ml", PolicyDocument=json.dumps(build_trust_policy("cleanrooms.amazonaws.com"))
    )


def archive(data: TrainingData, *days: str) -> None:
    """Move the files of days to an archive."""
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
        lose_column,
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
        put_all(lambda: with_times(1000)),
        Rule.TIMESTAMP_NOT_EPOCH_SECONDS,
        ("2,000 of 2,000", "'timestamp'", "milliseconds", "divide by 1,000"),
        "TIMESTAMP_NOT_EPOCH_SECONDS",
        "files",
    ),
    "too few users": Broken(
        put_all(lambda: build_rows(99, 11)),
        Rule.INSUFFICIENT_USERS,
        ("99 users", "at least 100", "supply more"),
        "INSUFFICIENT_USERS",
        "files",
    ),
    "single interactions": Broken(
        put_all(lambda: build_rows(1_000, 1)),
        Rule.INSUFFICIENT_USERS,
        ("0 users with at least 2 interactions", "1,000 with fewer do not count"),
        "INSUFFICIENT_USERS",
        "files",
    ),
    "nulls": Broken(
        put_all(lambda: [("" if user == "u7" else user, item, time) for user, item, time in build_rows()]),
        Rule.MISSING_VALUES,
        ("10 of 2,000", "'user_id' (USER_ID)", "remove these interactions"),
        "MISSING_VALUES",
        "files",
    ),
    "ZSTD": Broken(
        compress, Rule.ZSTD_COMPRESSION, ("part-0.zstd.parquet", "Snappy or GZIP"), "MALFORMED_FILE", "files"
    ),
    "wrong region": Broken(
        move_abroad,
        Rule.BUCKET_IN_OTHER_REGION,
        ("eu-west-1", f"copy the data to a bucket in {REGION}"),
        "BUCKET_IN_OTHER_REGION",
    ),
    "role not assumable": Broken(
        distrust, Rule.ROLE_NOT_ASSUMABLE, ("cleanrooms-ml.amazonaws.com", "sts:AssumeRole"), "ACCESS_DENIED"
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
def test_what_training_refuses_is_found_before(data: TrainingData, name: str) -> None:
    broken = BROKEN[name]
    create_role(data.world)
    broken.spoil(data.create())
    dataset = data.create_dataset()
    found = refuse(training_dataset_arn=dataset, statistics=broken.statistics)
    assert broken.rule.name in found
    text = " ".join((found[broken.rule.name]["problem"], found[broken.rule.name]["advice"]))
    assert [words for words in broken.told if words not in text] == []
    assert "CreateAudienceModel" not in data.world.calls
    details = data.train(dataset)["statusDetails"]
    assert details["statusCode"] == broken.code
    assert found[broken.rule.name]["problem"] in details["message"]


@reads_files
def test_files_that_were_restored_from_an_archive_pass_both(data: TrainingData) -> None:
    create_role(data.world)
    dataset = data.create().create_dataset()
    archive(data)
    for day in data.days:
        data.s3.restore_object(Bucket=data.bucket, Key=f"interactions/day={day}/part-0.csv", RestoreRequest={"Days": 1})
    assert check(training_dataset_arn=dataset, statistics="files").result["errors"] == 0
    assert data.train(dataset)["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("more", "where"),
    [({"StorageClass": "GLACIER"}, "GLACIER"), ({"AccessTier": "DEEP_ARCHIVE_ACCESS"}, "DEEP_ARCHIVE_ACCESS")],
)
def test_an_archived_object_is_no_missing_permission(more: dict[str, str], where: str) -> None:
    s3: Any = boto3.client("s3", region_name=REGION)
    with Stubber(s3) as stub:
        # A listing does not show the tiers of S3 Intelligent-Tiering, so only the read fails.
        stub.add_client_error("get_object", "InvalidObjectState", http_status_code=403, modeled_fields=more)
        with pytest.raises(InvalidDataError) as caught:
            read(s3, Location("lake", "a.csv"))
    (finding,) = caught.value.findings
    assert finding.rule is Rule.OBJECT_ARCHIVED
    assert f"s3://lake/a.csv is archived in S3 ({where})" in finding.problem


def test_a_seed_in_an_archive_is_no_missing_permission(world: World) -> None:
    create_role(world)
    seed: Any = world.write_seed()
    bucket, _, key = seed["dataSource"]["s3Uri"].removeprefix("s3://").partition("/")
    source = {"Bucket": bucket, "Key": key}
    world.client("s3").copy_object(Bucket=bucket, Key=key, CopySource=source, StorageClass="GLACIER")
    found = refuse_seed(seed_audience=seed)
    assert set(found) == {"OBJECT_ARCHIVED"}
    assert f"{key} is archived in S3 (GLACIER)" in found["OBJECT_ARCHIVED"]["problem"]
    job = world.ml.start_audience_generation_job(
        name="j", configuredAudienceModelArn=world.create_configured_model(), seedAudience=seed
    )
    failed = world.wait(job["audienceGenerationJobArn"])["statusDetails"]
    assert failed["statusCode"] == "OBJECT_ARCHIVED"
    assert found["OBJECT_ARCHIVED"]["problem"] in failed["message"]


@reads_files
def test_good_data_pass_both(data: TrainingData) -> None:
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


def test_data_are_checked_before_there_is_a_dataset(data: TrainingData) -> None:
    create_role(data.world)
    lose_column(data.create())
    found = refuse(training_data=data.data, role_arn=data.world.role)
    assert set(found) == {"COLUMN_MISSING"}
    assert data.world.calls == []


def test_all_findings_are_reported_at_once_and_pushed(data: TrainingData) -> None:
    create_role(data.world, build_trust_policy("cleanrooms.amazonaws.com"))
    data.create()
    data.columns["timestamp"] = "string"
    lose_column(data)
    ti = TaskInstance()
    with pytest.raises(DataCheckFailedError) as caught:
        check(ti=ti, training_data=data.data, role_arn=data.world.role)
    assert [finding["rule"] for finding in caught.value.findings] == ["COLUMN_MISSING", "ROLE_NOT_ASSUMABLE"]
    report = ti.pushed["report"]
    assert report["errors"] == 2
    assert report["findings"] == caught.value.findings
    assert all(f"ERROR {finding['rule']}" in str(caught.value) for finding in report["findings"])


def test_a_rule_can_be_lowered_to_a_warning(data: TrainingData) -> None:
    create_role(data.world)
    data.create().clear("2026-01-02")
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role}
    report = check(**arguments, warn_only=["PARTITION_EMPTY"]).result
    assert [(found["rule"], found["severity"]) for found in report["findings"]] == [("PARTITION_EMPTY", "warning")]
    with pytest.raises(InvalidRequestError, match="PARTITION_EMTPY"):
        check(**arguments, warn_only=["PARTITION_EMTPY"])


@pytest.mark.parametrize("statistics", [pytest.param("files", marks=reads_files), "athena"])
@pytest.mark.parametrize("spoil", [lose_column, change_type, move_abroad], ids=lambda each: each.__name__)
def test_a_rule_that_prevents_the_counting_never_does_so_silently(
    data: TrainingData, spoil: Callable[[TrainingData], None], statistics: str
) -> None:
    create_role(data.world)
    spoil(data.create())
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role, "statistics": statistics}
    (rule,) = refuse(**arguments)
    report = check(**arguments, warn_only=[rule]).result
    found = {finding["rule"]: finding for finding in report["findings"]}
    assert (report["errors"], report["statistics"], set(found)) == (0, None, {rule, "NOT_CHECKED"})
    assert found["NOT_CHECKED"]["field"] == "statistics"
    assert f"could not be checked: {rule} prevents it" in found["NOT_CHECKED"]["problem"]


@reads_files
def test_files_that_cannot_be_read_are_never_skipped_silently(data: TrainingData) -> None:
    create_role(data.world)
    data.create(to_csv(build_rows()) + b"a,b,c\n", build_rows())
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role, "statistics": "files"}
    report = check(**arguments, warn_only=["MALFORMED_FILE"]).result
    assert [finding["rule"] for finding in report["findings"]] == ["MALFORMED_FILE", "NOT_CHECKED"]
    assert "MALFORMED_FILE prevents it" in report["findings"][1]["problem"]


def test_nothing_is_reported_about_statistics_that_nobody_wants(data: TrainingData) -> None:
    create_role(data.world)
    lose_column(data.create())
    report = check(training_data=data.data, role_arn=data.world.role, warn_only=["COLUMN_MISSING"]).result
    assert [finding["rule"] for finding in report["findings"]] == ["COLUMN_MISSING"]
    assert report["files"] == 2


def test_a_wrong_schema_or_trust_policy_hides_no_missing_permission(data: TrainingData) -> None:
    create_role(data.world, build_trust_policy("glue.amazonaws.com"), "glue:*", "s3:ListBucket", "s3:GetBucketLocation")
    lose_column(data.create())
    found = refuse(training_data=data.data, role_arn=data.world.role)
    assert set(found) == {"COLUMN_MISSING", "ROLE_NOT_ASSUMABLE", "ROLE_LACKS_PERMISSION"}
    assert "s3:GetObject" in found["ROLE_LACKS_PERMISSION"]["problem"]


def test_a_partition_in_another_region_hides_no_empty_one(data: TrainingData) -> None:
    create_role(data.world)
    data.create().clear("2026-01-02")
    near = data.bucket
    data.days.insert(0, "2026-01-01b")
    move_abroad(data)
    data.bucket = near
    data.relocate_partition("2026-01-01", "2026-01-02")
    found = refuse(training_data=data.data, role_arn=data.world.role)
    assert set(found) == {"BUCKET_IN_OTHER_REGION", "PARTITION_EMPTY"}
    assert "only: 1 of 3" in found["PARTITION_EMPTY"]["problem"]


@reads_files
def test_declared_compression_is_found_without_reading(data: TrainingData) -> None:
    create_role(data.world)
    compress(data.create())
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role}
    assert "the name of 1 file" in refuse(**arguments)["ZSTD_DECLARED"]["problem"]
    data.recreate_table(**{"parquet.compression": "ZSTD"})
    assert "its property parquet.compression" in refuse(**arguments)["ZSTD_DECLARED"]["problem"]


@reads_files
def test_files_count_and_not_what_is_declared(data: TrainingData) -> None:
    create_role(data.world)
    data.serde, data.input_format = PARQUET_SERDE, PARQUET_FORMAT
    data.create(to_parquet(build_rows(), "snappy"), to_parquet(build_rows(), "gzip"))
    data.recreate_table(**{"parquet.compression": "ZSTD"})
    report = check(training_data=data.data, role_arn=data.world.role, statistics="files").result
    assert [found["rule"] for found in report["findings"]] == ["DUPLICATE_INTERACTIONS"]
    assert report["statistics"]["duplicates"] == 2000


@pytest.mark.parametrize(
    ("trusting", "told"),
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
def test_a_role_that_the_service_cannot_assume_is_explained(
    data: TrainingData, trusting: dict[str, Any], told: str
) -> None:
    create_role(data.world, {"Version": "2012-10-17", **trusting})
    data.create()
    found = refuse(training_data=data.data, role_arn=data.world.role)
    assert set(found) == {"ROLE_NOT_ASSUMABLE"}
    assert told in found["ROLE_NOT_ASSUMABLE"]["problem"]


def test_a_role_that_does_not_exist_is_named(data: TrainingData) -> None:
    data.create()
    found = refuse(training_data=data.data, role_arn=data.world.role)
    assert data.world.role in found["ROLE_NOT_FOUND"]["problem"]
    dataset = data.create_dataset()
    before = data.world.emulator.change_settings(roles_must_exist=True)
    try:
        assert data.train(dataset)["statusDetails"]["statusCode"] == "ACCESS_DENIED"
    finally:
        data.world.emulator.change_settings(roles_must_exist=before["roles_must_exist"])


@pytest.mark.parametrize("code", ["Throttling", "ServiceFailure", "InternalFailure"])
def test_a_failure_of_iam_is_no_missing_permission(code: str) -> None:
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
def test_a_failure_of_glue_is_no_uncertain_database(code: str) -> None:
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


def test_missing_permissions_of_the_role_are_named(data: TrainingData) -> None:
    create_role(data.world, None, "glue:GetDatabase", "glue:GetTable", "s3:ListBucket", "s3:GetBucketLocation")
    data.create()
    with pytest.raises(DataCheckFailedError) as caught:
        check(training_data=data.data, role_arn=data.world.role)
    problems = [finding["problem"] for finding in caught.value.findings]
    assert len(problems) == 4
    assert sum("glue:GetPartitions on" in problem for problem in problems) == 3
    assert f"s3:GetObject on the files in bucket {data.bucket}" in problems[-1]
    assert data.train(data.create_dataset())["statusDetails"]["statusCode"] == "ACCESS_DENIED"


def test_the_default_database_or_the_right_to_create_it_is_needed(data: TrainingData) -> None:
    allowed = ("glue:GetDatabase", "glue:GetTable", "glue:GetPartitions", "s3:*")
    create_role(data.world, None, *allowed)
    data.create()
    arguments: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role}
    assert check(**arguments).result["findings"] == []
    data.glue.delete_database(Name="default")
    assert set(refuse(**arguments)) == {"DEFAULT_DATABASE_MISSING"}
    dataset = data.create_dataset()
    assert "named default" in data.train(dataset)["statusDetails"]["message"]


@reads_files
def test_single_interactions_and_duplicates_are_warnings(data: TrainingData) -> None:
    create_role(data.world)
    good = build_rows()
    data.create([*good, good[0]], [("alone", "i", BEGIN)])
    report = check(training_data=data.data, role_arn=data.world.role, statistics="files").result
    assert [found["rule"] for found in report["findings"]] == ["DUPLICATE_INTERACTIONS", "SINGLE_INTERACTIONS"]
    assert "1 of 201 users" in report["findings"][1]["problem"]


@reads_files
def test_findings_quote_no_values(data: TrainingData) -> None:
    create_role(data.world)
    data.create(to_csv(build_rows()) + b"secret-user,secret-item,secret-time\n", build_rows())
    found = refuse(training_data=data.data, role_arn=data.world.role, statistics="files")
    assert "day=2026-01-01/part-0.csv" in found["MALFORMED_FILE"]["problem"]
    assert "secret" not in json.dumps(found)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"role_arn": "r"}, {"training_dataset_arn": "a", "role_arn": "r"}],
    ids=["nothing", "role", "both"],
)
def test_either_a_dataset_or_its_data_are_needed(empty_world: World, arguments: dict[str, str]) -> None:
    arn = "arn:aws:cleanrooms-ml:us-east-1:123456789012:training-dataset/00000000-0000-4000-8000-000000000000"
    known = {"a": arn, "r": empty_world.role}
    with pytest.raises(InvalidRequestError, match="set either the ARN"):
        check(**{name: known[value] for name, value in arguments.items()})


def test_a_check_that_is_asked_for_is_not_left_out(empty_world: World) -> None:
    arn = "arn:aws:cleanrooms-ml:us-east-1:123456789012:training-dataset/00000000-0000-4000-8000-000000000000"
    with pytest.raises(InvalidRequestError, match="statistics: None, although the Dag sets it"):
        check(training_dataset_arn=arn, statistics="{{ none }}")
    seed: Any = {"dataSource": {"s3Uri": "s3://seeds/a"}, "roleArn": empty_world.role}
    sized: Any = {"min_matching_seed_size": "{{ none }}"}
    with pytest.raises(InvalidRequestError, match="min_matching_seed_size: None, although the Dag sets it"):
        run(CleanRoomsMLCheckSeedAudienceOperator(task_id="t", seed_audience=seed, **sized))
    assert empty_world.calls == []


def test_counting_is_switched_off_in_the_dag_only(data: TrainingData) -> None:
    create_role(data.world)
    data.create()
    given: dict[str, Any] = {"training_data": data.data, "role_arn": data.world.role}
    assert check(**given, statistics=None).result["statistics"] is None
    how = "to do without it, set statistics=None in the Dag itself"
    with pytest.raises(InvalidRequestError, match=how):
        check(**given, statistics="{{ none }}")
    native = {"dag": DAG("d", schedule=None, render_template_as_native_obj=True)}
    with pytest.raises(InvalidRequestError, match=how):
        check(**given, statistics="{{ none }}", **native)
    # A mapped task has the None that the Dag lists.
    with DAG("mapped", schedule=None):
        mapped = CleanRoomsMLCheckTrainingDataOperator.partial(task_id="t", **SMALL, **given).expand(statistics=[None])
    unmapped: Any = mapped.unmap({"statistics": None})
    assert run(unmapped).result["statistics"] is None


@pytest.mark.skipif(HAS_PYARROW, reason="pyarrow is installed")
def test_without_pyarrow_the_extra_is_named(data: TrainingData) -> None:
    with pytest.raises(ConfigurationError, match=r"airflow-provider-cleanroomsml\[files\]"):
        check(training_data=data.data, role_arn=data.world.role, statistics="files")


def queue_result(world: World, row: Statistics) -> None:
    """Queue what moto returns for the next query: it runs none."""
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


def test_athena_counts_at_real_size(data: TrainingData) -> None:
    create_role(data.world)
    dataset = data.create().create_dataset()
    missing = {"USER_ID": 0, "ITEM_ID": 0, "TIMESTAMP": 12}
    complete = 4_999_999_988
    found = Statistics(5_000_000_000, missing, complete, {WrongUnit.MILLISECONDS: 7}, complete, 10**8, 99_000, 3)
    queue_result(data.world, found)
    refused = refuse(
        training_dataset_arn=dataset,
        statistics="athena",
        min_users=100_000,
        athena_output_location=f"s3://{data.bucket}/athena/",
    )
    assert set(refused) == {"MISSING_VALUES", "TIMESTAMP_NOT_EPOCH_SECONDS", "INSUFFICIENT_USERS"}
    assert "12 of 5,000,000,000 interactions" in refused["MISSING_VALUES"]["problem"]
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


def test_athena_never_counts_a_table_of_the_same_name_in_another_catalog(data: TrainingData) -> None:
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


def test_a_table_of_another_account_is_named_with_its_catalog(data: TrainingData) -> None:
    create_role(data.world)
    training_data = data.create().data
    training_data[0]["inputConfig"]["dataSource"]["glueDataSource"].update(catalogId="210987654321", tableName="no")
    with pytest.raises(DataCheckFailedError, match=r"Glue table 210987654321/lookalike\.no: 1 error") as caught:
        check(training_data=training_data, role_arn=data.world.role)
    assert "Glue table 210987654321/lookalike.no does not exist" in caught.value.findings[0]["problem"]


def test_a_killed_task_stops_its_query(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
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
                athena.get_query_execution(QueryExecutionId=found)["QueryExecution"]["Status"]["State"] for found in ids
            }

    with queries_that_do_not_end(data.world), ThreadPoolExecutor(1) as pool:
        killer = pool.submit(kill_while_the_query_runs)
        # Whoever has cancelled it, that says nothing about the data.
        with pytest.raises(CleanRoomsMLError, match="a retry may succeed.*CANCELLED") as caught:
            run(operator)
        killer.result()
    assert not isinstance(caught.value, AirflowFailException)


class FailingAthena(BaseHTTPRequestHandler):
    """Athena, whose queries end with a status; moto's never fail."""

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
def failing_athena(monkeypatch: pytest.MonkeyPatch, status: dict[str, Any]) -> Iterator[None]:
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
        # What Athena says itself counts more than the category.
        ({**SYSTEM, "ErrorType": 100, "Retryable": False}, True),
        ({**USER, "ErrorType": 1, "Retryable": True}, False),
        ({**USER, "ErrorType": 1}, False),
        ({"ErrorType": 8}, False),
        ({"ErrorType": 9}, True),
    ],
)
def test_only_a_failure_of_athena_itself_is_retried(
    data: TrainingData, monkeypatch: pytest.MonkeyPatch, error: dict[str, Any], is_final: bool
) -> None:
    create_role(data.world)
    status: dict[str, Any] = {"State": "FAILED", "StateChangeReason": "HIVE_BAD_DATA: value 'secret'"}
    given = {"training_data": data.create().data, "role_arn": data.world.role, "statistics": "athena"}
    status |= {"AthenaError": {**error, "ErrorMessage": "value 'secret'"}} if error else {}
    with failing_athena(monkeypatch, status), pytest.raises(CleanRoomsMLError, match="HIVE_BAD_DATA") as caught:
        check(**given)
    assert isinstance(caught.value, DataCheckFailedError) is is_final
    assert isinstance(caught.value, AirflowFailException) is is_final
    assert ("a retry may succeed" in str(caught.value)) is not is_final
    assert "secret" not in str(caught.value)
    if "ErrorType" in error:
        assert f"error type {error['ErrorType']}" in str(caught.value)


def test_a_query_may_take_longer_than_the_hook_would_wait(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_cleanroomsml._data_checks.athena_query._POLL_SECONDS", 0.001)
    create_role(data.world)
    data.create()
    missing = {"USER_ID": 0, "ITEM_ID": 0, "TIMESTAMP": 0}
    queue_result(data.world, Statistics(2000, missing, 2000, {}, 2000, 200, 200, 0))
    with queries_that_do_not_end(data.world, polls=150):
        report = check(training_data=data.data, role_arn=data.world.role, statistics="athena").result
    assert report["statistics"]["users"] == 200


@contextmanager
def queries_that_do_not_end(world: World, polls: int = 10_000) -> Iterator[None]:
    set_transition(world, {"progression": "manual", "times": polls})
    yield
    set_transition(world, {"progression": "immediate"})


def set_transition(world: World, transition: dict[str, Any]) -> None:
    """Say how a query of moto's Athena goes on."""
    body = json.dumps({"model_name": "athena::execution", "transition": transition}).encode()
    url = f"{world.emulator.url}/moto-api/state-manager/set-transition"
    with urllib.request.urlopen(urllib.request.Request(url, body)) as reply:
        assert reply.status == 201


def connect(world: World, monkeypatch: pytest.MonkeyPatch, **extra: str) -> None:
    """Let ``aws_default`` lead to an account with its own login."""
    extra |= {"region_name": REGION, "endpoint_url": world.emulator.url}
    connection = {"conn_type": "aws", "login": world.account, "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))


def test_a_session_token_with_a_line_break_is_not_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_check_without_credentials_is_told_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(CleanRoomsMLError, match="The connection has no login") as caught:
        check(training_data=world.build_training_data(), role_arn=world.role)
    assert not isinstance(caught.value, UnreachableError)


def check_seed(**arguments: Any) -> Run:
    given: dict[str, Any] = {"min_seed_size": 2, **arguments}
    return run(CleanRoomsMLCheckSeedAudienceOperator(task_id="t", **given))


def refuse_seed(**arguments: Any) -> dict[str, dict[str, str]]:
    with pytest.raises(DataCheckFailedError) as caught:
        check_seed(**arguments)
    return {finding["rule"]: finding for finding in caught.value.findings}


def put_seed(world: World, body: bytes) -> dict[str, Any]:
    world.client("s3").put_object(Bucket=world.bucket, Key="seed/spoilt.jsonl", Body=body)
    return {"dataSource": {"s3Uri": f"s3://{world.bucket}/seed/spoilt.jsonl"}, "roleArn": world.role}


def test_a_good_seed_passes_and_is_counted(world: World) -> None:
    create_role(world)
    assert check_seed(seed_audience=world.write_seed()).result == {
        "errors": 0,
        "warnings": 0,
        "findings": [],
        "users": 30,
    }
    report = check_seed(seed_audience=world.write_seed(["a", "b", "a"])).result
    assert [found["rule"] for found in report["findings"]] == ["SEED_REPEATS"]


@pytest.mark.parametrize(
    ("body", "rule", "told"),
    [
        (b"", "SEED_EMPTY", "at least 2"),
        (b'{"user_id": "secret"}\n', "SEED_TOO_SMALL", "ids in the seed: 1"),
        (b"user_id\nsecret\n", "SEED_MALFORMED", "line 1: not JSON"),
        (b'{"secret": 1}\n', "SEED_MALFORMED", 'line 1: "user_id" is missing'),
        (b'{"user_id": ["secret"]}\n', "SEED_MALFORMED", "not a string or an integer"),
        (b"PAR1secret\xff", "SEED_MALFORMED", "not UTF-8"),
        (b'{"user_id": ' + b"[" * 100_000, "SEED_MALFORMED", "line 1: not JSON"),
    ],
    ids=["empty", "too small", "CSV", "other members", "a list", "Parquet", "a deep list"],
)
def test_a_seed_that_a_job_refuses_is_found_before(world: World, body: bytes, rule: str, told: str) -> None:
    create_role(world)
    seed = put_seed(world, body)
    found = refuse_seed(seed_audience=seed)
    assert told in found[rule]["problem"]
    assert "secret" not in json.dumps(found)
    job = world.ml.start_audience_generation_job(
        name="job", configuredAudienceModelArn=world.create_configured_model(), seedAudience=seed
    )
    details = world.wait(job["audienceGenerationJobArn"])["statusDetails"]
    assert details["statusCode"] == rule


def test_a_seed_that_is_too_large_to_read_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert f"The seed at {folder} could not be checked: its files have more than" in finding["problem"]


def test_a_seed_must_be_able_to_match_enough_users(world: World) -> None:
    create_role(world)
    arguments = {"seed_audience": world.write_seed(), "min_matching_seed_size": 31}
    assert "ids in the seed: 30; at least 31" in refuse_seed(**arguments)["SEED_CANNOT_MATCH"]["problem"]
    check_seed(**{**arguments, "min_matching_seed_size": 30})


def test_a_missing_seed_and_its_role_are_reported_together(empty_world: World) -> None:
    empty_world.create_bucket()
    create_role(empty_world, build_trust_policy("glue.amazonaws.com"))
    seed = {"dataSource": {"s3Uri": f"s3://{empty_world.bucket}/nowhere.jsonl"}, "roleArn": empty_world.role}
    assert set(refuse_seed(seed_audience=seed)) == {"SEED_NOT_FOUND", "ROLE_NOT_ASSUMABLE"}


def test_of_a_sql_seed_the_role_is_checked(empty_world: World) -> None:
    create_role(empty_world)
    seed = {"sqlParameters": {"queryString": "SELECT secret FROM users"}, "roleArn": empty_world.role}
    report = check_seed(seed_audience=seed).result
    assert [found["rule"] for found in report["findings"]] == ["NOT_CHECKED"]
    assert "secret" not in json.dumps(report)


@pytest.mark.parametrize("bucket", ["bad bucket!", "bücket", "b" * 300])
def test_a_bucket_that_cannot_exist_is_a_finding(world: World, bucket: str) -> None:
    create_role(world)
    seed = {"dataSource": {"s3Uri": f"s3://{bucket}/seed.jsonl"}, "roleArn": world.role}
    assert bucket in refuse_seed(seed_audience=seed)["BUCKET_NOT_FOUND"]["problem"]


@pytest.mark.parametrize("name", [["SEED_TOO_SMALL"], {}, None, 5], ids=str)
def test_what_is_no_name_of_a_rule_is_named(empty_world: World, name: Any) -> None:
    seed = {"sqlParameters": {"queryString": "SELECT user_id FROM users"}, "roleArn": empty_world.role}
    with pytest.raises(InvalidRequestError, match=r"warn_only: .* no such rule.*; allowed: "):
        check_seed(seed_audience=seed, warn_only=[name])


@pytest.mark.parametrize("lines", ["yes", "", "-1", "1.0"])
def test_a_number_of_header_lines_that_is_none_is_a_finding(data: TrainingData, lines: str) -> None:
    create_role(data.world)
    data.create().recreate_table(**{"skip.header.line.count": lines})
    problem = refuse(training_data=data.data, role_arn=data.world.role)["FORMAT_NOT_SUPPORTED"]["problem"]
    assert f"skip.header.line.count is {lines!r}" in problem


@reads_files
def test_a_file_that_is_one_long_line_is_a_finding(data: TrainingData) -> None:
    create_role(data.world)
    data.create(b"x" * 200_000, build_rows())
    found = refuse(training_data=data.data, role_arn=data.world.role, statistics="files")
    assert "part-0.csv cannot be read" in found["MALFORMED_FILE"]["problem"]


@reads_files
def test_interactions_outside_of_the_window_do_not_count(data: TrainingData) -> None:
    create_role(data.world)
    data.create()
    found = refuse(
        training_data=data.data,
        role_arn=data.world.role,
        statistics="files",
        training_data_end_time=datetime.fromtimestamp(BEGIN + 99 * 60, timezone.utc),
    )
    assert "99 users with at least 2 interactions in the training window" in found["INSUFFICIENT_USERS"]["problem"]
    assert "of 2,000 supplied" in found["INSUFFICIENT_USERS"]["problem"]


@pytest.mark.parametrize(
    ("text", "shown"),
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
def test_no_location_shows_an_id(text: str, shown: str) -> None:
    finding = Finding(Rule.MALFORMED_FILE, "files", text, text, Severity.ERROR)
    (withheld,) = withhold_ids([finding], SCHEMA)
    assert (withheld.problem, withheld.advice) == (shown, shown)


@reads_files
def test_a_table_partitioned_by_user_shows_none(data: TrainingData) -> None:
    create_role(data.world)
    data.create()
    data.schema = [
        {"columnName": "day", "columnTypes": ["USER_ID"]},
        *[column for column in data.schema if column["columnTypes"] != ["USER_ID"]],
    ]
    for day in data.days:
        data.put(day, b"\xff\xfe broken")
    found = refuse(training_data=data.data, role_arn=data.world.role, statistics="files")
    assert found
    assert [day for day in data.days if day in json.dumps(found)] == []
