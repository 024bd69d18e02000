"""The emulator of a user's test: what it offers, that each test begins with nothing, and that nothing is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.testing import EmulatorError, RunningEmulator, emulator
from airflow_cleanroomsml.testing.running_emulator import serve
from tests.helpers.socket_servers import answer_after_reading, build_http_answer, run_peer
from tests.testing.lookalike import INTERACTIONS, SEED, create_dataset, describe_model, generate, train


def test_jobs_end_before_the_request_is_answered(cleanroomsml: RunningEmulator) -> None:
    account, ml = cleanroomsml.account, cleanroomsml.client("cleanroomsml")
    job = generate(
        account, train(account, cleanroomsml.put_table("interactions", INTERACTIONS)), cleanroomsml.put_seed(SEED)
    )
    assert ml.get_audience_generation_job(audienceGenerationJobArn=job)["status"] == "ACTIVE"
    ml.start_audience_export_job(
        name="export", audienceGenerationJobArn=job, audienceSize={"type": "PERCENTAGE", "value": 10}
    )
    written = cleanroomsml.client("s3").list_objects_v2(Bucket=account.bucket, Prefix="audiences/")["Contents"]
    assert written
    assert cleanroomsml.calls[-2:] == ["GetAudienceGenerationJob", "StartAudienceExportJob"]


def test_each_test_starts_with_an_empty_emulator(cleanroomsml: RunningEmulator) -> None:
    began_at = cleanroomsml.clock.now()
    cleanroomsml.put_table("interactions", INTERACTIONS)
    cleanroomsml.clock.advance(86_400)
    cleanroomsml.clock.freeze()
    cleanroomsml.change_settings(unique_names=False)
    cleanroomsml.faults.throttle("*", times=0)
    cleanroomsml.account.limit_permissions(["cleanrooms-ml:Get*"])
    with cleanroomsml.use():
        assert cleanroomsml.client("glue").get_databases()["DatabaseList"] == []
        assert cleanroomsml.client("s3").list_buckets()["Buckets"] == []
        assert cleanroomsml.client("cleanroomsml").list_training_datasets()["trainingDatasets"] == []
        assert cleanroomsml.calls == ["ListTrainingDatasets"]
        source = cleanroomsml.put_table("interactions", INTERACTIONS)
        create_dataset(cleanroomsml.account, source)
        with pytest.raises(ClientError, match="ConflictException"):
            create_dataset(cleanroomsml.account, source)
        assert (cleanroomsml.clock.now() - began_at).total_seconds() < 40_000


def test_everything_is_restored_afterwards(cleanroomsml: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example.com")
    monkeypatch.setenv("NO_PROXY", "example.com")
    monkeypatch.delenv("no_proxy", raising=False)
    before = dict(os.environ)
    with cleanroomsml.use():
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_ENDPOINT_URL_S3" not in os.environ
        assert os.environ["no_proxy"] == "example.com,127.0.0.1"
        cleanroomsml.connect("other")
        assert cleanroomsml.environment.items() <= os.environ.items()
    assert dict(os.environ) == before


def test_boto3_and_the_default_connection_use_the_account(cleanroomsml: RunningEmulator) -> None:
    boto3.session.Session().client("cleanroomsml").list_audience_models()
    CleanRoomsMLHook().call("list_training_datasets", {})
    assert cleanroomsml.session.client("sts", endpoint_url=cleanroomsml.endpoint_url).get_caller_identity()[
        "Account"
    ] == (cleanroomsml.account.id)
    assert cleanroomsml.calls == ["ListAudienceModels", "ListTrainingDatasets"]


def test_a_connection_can_use_the_partners_account(cleanroomsml: RunningEmulator) -> None:
    cleanroomsml.connect("seeder", cleanroomsml.partner)
    create_dataset(cleanroomsml.account, cleanroomsml.put_table("interactions", INTERACTIONS))
    assert CleanRoomsMLHook("seeder").call("list_training_datasets", {})["trainingDatasets"] == []
    assert cleanroomsml.partner.calls == ["ListTrainingDatasets"]
    assert cleanroomsml.calls == ["CreateTrainingDataset"]


@pytest.mark.parametrize(("region", "partition"), [("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn")])
def test_a_role_has_the_partition_of_the_region(cleanroomsml: RunningEmulator, region: str, partition: str) -> None:
    with RunningEmulator(cleanroomsml.endpoint_url, region=region).use() as there:
        assert there.account.build_role_arn("r") == f"arn:{partition}:iam::{there.account.id}:role/r"
        create_dataset(there.account, there.put_table("interactions", INTERACTIONS))


def test_faults_apply_to_one_account(cleanroomsml: RunningEmulator) -> None:
    cleanroomsml.partner.faults.inject("ListTrainingDatasets", "access_denied")
    cleanroomsml.client("cleanroomsml").list_training_datasets()
    assert len(cleanroomsml.partner.faults.list_active()) == 1
    with pytest.raises(ClientError, match="AccessDeniedException"):
        cleanroomsml.partner.client("cleanroomsml").list_training_datasets()
    assert cleanroomsml.partner.faults.list_active() == []


def test_a_test_can_make_a_job_fail(cleanroomsml: RunningEmulator) -> None:
    cleanroomsml.faults.fail_job("CreateAudienceModel", "no capacity")
    model = train(cleanroomsml.account, cleanroomsml.put_table("interactions", INTERACTIONS))
    assert describe_model(cleanroomsml.account, model) == ("CREATE_FAILED", "no capacity")


def test_faults_can_be_cleared(cleanroomsml: RunningEmulator) -> None:
    cleanroomsml.faults.throttle("*", times=0)
    cleanroomsml.faults.lose_response("CreateTrainingDataset")
    assert {fault["kind"] for fault in cleanroomsml.faults.list_active()} == {"throttle", "lose_response"}
    cleanroomsml.faults.clear()
    cleanroomsml.client("cleanroomsml").list_training_datasets()


def test_permissions_can_be_limited(cleanroomsml: RunningEmulator) -> None:
    cleanroomsml.account.limit_permissions(["cleanrooms-ml:List*"])
    cleanroomsml.client("cleanroomsml").list_training_datasets()
    with pytest.raises(ClientError, match="cleanrooms-ml:CreateTrainingDataset"):
        create_dataset(cleanroomsml.account, {"glueDataSource": {"databaseName": "d", "tableName": "t"}})


def test_unknown_settings_and_faults_are_rejected(cleanroomsml: RunningEmulator) -> None:
    with pytest.raises(EmulatorError, match="'CreateEverything' is not an API operation"):
        cleanroomsml.faults.throttle("CreateEverything")
    with pytest.raises(EmulatorError, match="'slwo' is unknown"):
        cleanroomsml.faults.inject("*", "slwo")
    with pytest.raises(EmulatorError, match="sacle: unknown setting"):
        cleanroomsml.change_settings(sacle=1)
    number: Any = 123456789012
    for account in ("1234", number, "1234567890" + chr(0xFF11) * 2):
        with pytest.raises(ValueError, match="must be 12 digits"):
            cleanroomsml.open_account(account)


def test_string_is_rejected_where_a_list_is_expected(cleanroomsml: RunningEmulator) -> None:
    with pytest.raises(ValueError, match="actions is the string 'cleanrooms-ml:Get"):
        cleanroomsml.account.limit_permissions("cleanrooms-ml:Get*")
    with pytest.raises(ValueError, match="user_ids is a str"):
        cleanroomsml.put_seed("u1")


def test_an_external_emulator_is_reset(cleanroomsml: RunningEmulator) -> None:
    create_dataset(cleanroomsml.account, cleanroomsml.put_table("interactions", INTERACTIONS))
    with emulator(cleanroomsml.endpoint_url, account="111111111111", region="us-west-2") as other:
        assert other.account.id == boto3.client("sts").get_caller_identity()["Account"] == "111111111111"
        other.put_table("interactions", INTERACTIONS)
        assert os.environ["AWS_DEFAULT_REGION"] == "us-west-2"
        assert cleanroomsml.calls == []
    assert os.environ["AWS_DEFAULT_REGION"] == "us-east-1"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:5055", "must be like http://127.0.0.1:5055"),
        ("http://[::1", "must be like http://127.0.0.1:5055"),
        ("http://[zz]/", "must be like http://127.0.0.1:5055"),
        ("http://localhost:http", "must be like http://127.0.0.1:5055"),
        ("http://localhost:65536", "must be like http://127.0.0.1:5055"),
        ("http://user@localhost:5055", "must be like http://127.0.0.1:5055"),
        ("http://localhost:5055/emulator", "must be like http://127.0.0.1:5055"),
        ("http://:5055", "must be like http://127.0.0.1:5055"),
        ("http://local host:5055", "must be like http://127.0.0.1:5055"),
        ("http://localhost:5055\n", "must be like http://127.0.0.1:5055"),
        ("http://localhost:5055#emulator", "must be like http://127.0.0.1:5055"),
        ("http://127.0.0.1:1", "cannot be reached at http://127.0.0.1:1: "),
        ("http://127.0.0.1:1/", "cannot be reached at http://127.0.0.1:1: "),
        ("http://a..b:5055", "cannot be reached at http://a..b:5055: "),
        ("http://emulator.invalid:5055", "cannot be reached at http://emulator.invalid:5055: "),
    ],
)
def test_error_names_an_invalid_url(url: str, message: str) -> None:
    with pytest.raises(EmulatorError, match=message), emulator(url):
        pass


@pytest.mark.parametrize(
    ("status", "body"), [("200 OK", b"<html>"), ("200 OK", b"[]"), ("404 Not Found", b'{"detail": "?"}')]
)
def test_server_that_is_no_emulator_is_named(status: str, body: bytes) -> None:
    with (
        run_peer(answer_after_reading(build_http_answer(body, status))) as peer,
        pytest.raises(
            EmulatorError, match=f"There is no emulator at {peer.build_url('http')}: .* status {status[:3]} for "
        ),
        emulator(peer.build_url("http")),
    ):
        pass


def test_error_names_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    for name in ("moto", "pyarrow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with (
        pytest.raises(EmulatorError, match=r"lacks .*moto.* pip install 'airflow-provider-cleanroomsml\[emulator\]'"),
        serve(),
    ):
        pass


def test_emulator_runs_without_airflow(cleanroomsml: RunningEmulator) -> None:
    code = f"""
import sys
sys.modules["airflow"] = None
from airflow_cleanroomsml.testing import emulator
with emulator({cleanroomsml.endpoint_url!r}) as service:
    service.put_table("interactions", [{{"user_id": "u1"}}])
    print(service.client("cleanroomsml").list_training_datasets()["trainingDatasets"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("key", ["a?b", "a#b", "a?", "a%20b", "/a"])
def test_an_object_has_the_key_of_its_uri(cleanroomsml: RunningEmulator, key: str) -> None:
    cleanroomsml.account.put_object(f"s3://keys/{key}", "x")
    listed = cleanroomsml.client("s3").list_objects_v2(Bucket="keys")["Contents"]
    assert [entry["Key"] for entry in listed] == [key]
