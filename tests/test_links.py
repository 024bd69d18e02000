"""Extra links: which classes have which links, where they lead in each partition, and when a task stores them."""

from __future__ import annotations

import re
from importlib.metadata import metadata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.providers_manager import ProvidersManager

from airflow_cleanroomsml import _compat, get_provider_info
from airflow_cleanroomsml._compat import TaskDeferred
from airflow_cleanroomsml._link_storage import store_error_links, store_request_links
from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml._ui.link import DETAILS_LINKS
from airflow_cleanroomsml.exceptions import JobFailedError, NoQuotaError, QuotaExceededError, WaitTimeoutError
from airflow_cleanroomsml.links import LINKS, ServiceQuotaLink
from airflow_cleanroomsml.operators import (
    CleanRoomsFindMembershipOperator,
    CleanRoomsMLCallOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLCreateMLInputChannelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLPutMLConfigurationOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLTrainedModelSensor
from tests.helpers.custom_models import Studio
from tests.helpers.exported_classes import TASKS, every_task, list_arguments
from tests.support import TaskInstance, World, run

PACKAGE = "airflow-provider-cleanroomsml"
ROOT = Path(__file__).parents[1]
COLLABORATION = "11111111-2222-3333-4444-555555555555"
PARTITIONS = {
    "aws": ("eu-west-1", "https://eu-west-1.console.aws.amazon.com/"),
    "aws-cn": ("cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
    "aws-us-gov": ("us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/"),
    "aws-iso": ("us-iso-east-1", ""),
    "aws-iso-b": ("us-isob-east-1", ""),
}
REFERENCE = "_link_ApiReferenceLink"
DETAILS = "_link_CleanRoomsMLDetailsLink"
both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


@pytest.fixture(autouse=True)
def _fast_clock(fast_clock: None) -> None:
    pass


def build_full_request(cls: type[Any], partition: str, region: str) -> dict[str, Any]:
    """Build a value for every argument of a class, as its templates render."""
    s3 = {"s3Uri": "s3://lake/audiences of 2026"}
    values: dict[str, Any] = {
        "collaboration_identifier": COLLABORATION,
        "collaboration_id": COLLABORATION,
        "seed_audience": {"dataSource": {"s3Uri": "s3://lake/seeds/week 1.jsonl"}, "roleArn": "arn:aws:iam::1:role/r"},
        "output_config": {"destination": {"s3Destination": s3}, "roleArn": "arn:aws:iam::1:role/r"},
        "default_output_location": {"destination": {"s3Destination": s3}, "roleArn": "arn:aws:iam::1:role/r"},
        "operation": "create_audience_model",
        "parameters": {"collaboration_identifier": COLLABORATION},
        "service": "cleanroomsml",
    }
    arn = f"arn:{partition}:cleanrooms-ml:{region}:123456789012:some-resource/1"
    return {name: values.get(name, arn if name.endswith("_arn") else "x") for name in list_arguments(cls)}


def build_full_task(cls: type[Any], partition: str) -> Any:
    region, _ = PARTITIONS[partition]
    return cls(task_id="t", aws_conn_id=None, region_name=region, **build_full_request(cls, partition, region))


def store_links(task: Any, error: Exception | None = None) -> dict[str, str]:
    """Store the links of a task's request and those of an error, and return them by name."""
    ti = TaskInstance()
    context: Any = {"ti": ti}
    parameters: Any = task.parameters if isinstance(task, CleanRoomsMLCallOperator) else None
    store_request_links(task, context, parameters)
    if isinstance(error, QuotaExceededError):
        store_error_links(task, context, error)
    return {link.name: ti.links[link.xcom_key] for link in LINKS if link.xcom_key in ti.links}


@every_task
def test_links_of_each_class_have_unique_names(cls: type[Any]) -> None:
    names = [link.name for link in cls.operator_extra_links]
    assert names.count("API reference") == 1
    assert len(set(names)) == len(names)
    keys = [link.xcom_key for link in cls.operator_extra_links]
    assert keys == [f"_link_{type(link).__name__}" for link in cls.operator_extra_links]


def test_airflow_knows_each_link() -> None:
    # Airflow 2.11 refuses to load a Dag with a link that no provider declares.
    declared = get_provider_info()["extra-links"]
    assert isinstance(declared, list)
    assert sorted(declared) == sorted(f"airflow_cleanroomsml.links.{type(link).__name__}" for link in LINKS)
    assert set(declared) <= set(ProvidersManager().extra_links_class_names)


def test_names_do_not_change() -> None:
    # Users of the REST API find the links by name.
    assert [link.name for link in LINKS] == [
        "Collaboration",
        "Input in S3",
        "Output in S3",
        "CloudWatch logs",
        "Service quota",
        "API reference",
        "Documentation",
    ]
    names = {link.name for cls in TASKS for link in cls.operator_extra_links}
    assert names == {link.name for link in (*LINKS, *DETAILS_LINKS)}


@every_task
@pytest.mark.parametrize("partition", PARTITIONS)
def test_a_full_request_has_the_links_of_its_partition(cls: type[Any], partition: str) -> None:
    region, console = PARTITIONS[partition]
    task = build_full_task(cls, partition)
    error = QuotaExceededError("full", operation="CreateTrainedModel", details={"quotaName": "of some kind"})
    links = store_links(task, error)
    links.pop("Documentation", None)
    service = "clean-rooms/latest/apireference" if task.service == "cleanrooms" else "cleanrooms-ml/latest/APIReference"
    page = re.fullmatch(rf"https://docs\.aws\.amazon\.com/{service}/API_(\w+)\.html", links.pop("API reference"))
    assert page is not None
    assert page[1] in load(task.service).operation_names
    expected = {
        "Collaboration": f"cleanrooms/home?region={region}#/collaborations/{COLLABORATION}",
        "Input in S3": f"s3/object/lake?region={region}&prefix=seeds/week%201.jsonl",
        "Output in S3": f"s3/buckets/lake?region={region}&prefix=audiences%20of%202026/",
        "CloudWatch logs": f"cloudwatch/home?region={region}#logsV2:log-groups/log-group/$252Faws$252Fcleanroomsml$252F",
        "Service quota": "servicequotas/home/services/cleanrooms-ml/quotas",
    }
    # The others need the service's response.
    arguments = set(list_arguments(cls))
    sources = {
        "Collaboration": {"collaboration_identifier", "collaboration_id", "parameters"},
        "Output in S3": {"output_config", "default_output_location"},
    }
    own = [link for link in task.operator_extra_links if link in LINKS]
    names = {link.name for link in own if arguments & sources.get(link.name, arguments)} - {
        "API reference",
        "Documentation",
    }
    assert set(links) == (names if console else set())
    for name, url in links.items():
        assert url.startswith(console + expected[name])


@pytest.fixture
def documentation_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the documentation in the metadata of the installed package."""
    folder = tmp_path / "airflow_provider_cleanroomsml-99.dist-info"
    folder.mkdir()
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {PACKAGE}",
        "Version: 99",
        "Project-URL: Source, https://example.com/code",
    ]
    lines.append("Project-URL: Documentation, https://example.com/docs/")
    (folder / "METADATA").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    return "https://example.com/docs/"


@every_task
def test_each_class_links_to_its_reference(cls: type[Any], documentation_url: str) -> None:
    page, _, anchor = (
        store_links(build_full_task(cls, "aws"))["Documentation"].removeprefix(documentation_url).partition(".html#")
    )
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    # The site's anchors are headings in lower case.
    assert f"\n## {cls.__name__}\n" in text
    assert anchor == cls.__name__.lower()


def test_subclass_links_to_the_reference_of_its_base(documentation_url: str) -> None:
    class CreateModel(CleanRoomsMLCreateAudienceModelOperator):
        pass

    url = store_links(build_full_task(CreateModel, "aws"))["Documentation"]
    assert url == f"{documentation_url}operators/audience_model.html#cleanroomsmlcreateaudiencemodeloperator"


def test_documentation_link_needs_url_in_metadata() -> None:
    # TO BE FILLED IN AT PUBLICATION: the address in pyproject.toml, which an installed package has in its metadata.
    declared = any(url.startswith("Documentation,") for url in metadata(PACKAGE).get_all("Project-URL") or ())
    links = store_links(build_full_task(CleanRoomsMLCreateAudienceModelOperator, "aws"))
    assert ("Documentation" in links) == declared


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "{{ collaboration }}",
        f"{COLLABORATION}/../../iam",
        f"{COLLABORATION}\n",
    ],
)
def test_invalid_collaboration_has_no_link(value: str) -> None:
    task = CleanRoomsFindMembershipOperator(task_id="t", collaboration_identifier=value, region_name="us-east-1")
    assert "Collaboration" not in store_links(task)


@pytest.mark.parametrize("region", ["evil.example/#", "us east", "eu-west-1\n"])
def test_invalid_region_has_no_link(region: str) -> None:
    assert set(_store_links_for(f"arn:aws:cleanrooms-ml:{region}:123456789012:audience-model/1")) == {"API reference"}


@pytest.mark.parametrize("arn", ["arn:x", "arn:aws:cleanrooms-ml::123456789012:audience-model/1"])
def test_arn_without_region_uses_region_of_connection(arn: str) -> None:
    assert "region=us-east-1" in _store_links_for(arn)["Output in S3"]


def _store_links_for(arn: str) -> dict[str, str]:
    sizes: Any = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [1]}
    task = CleanRoomsMLCreateConfiguredAudienceModelOperator(
        task_id="t",
        name="c",
        audience_model_arn=arn,
        output_config={"destination": {"s3Destination": {"s3Uri": "s3://lake/x"}}, "roleArn": "r"},
        shared_audience_metrics=["ALL"],
        audience_size_config=sizes,
    )
    return store_links(task)


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("s3://lake/out", "s3/buckets/lake?region=us-east-1&prefix=out/"),
        ("s3://lake/out/", "s3/buckets/lake?region=us-east-1&prefix=out/"),
        ("s3://lake/", "s3/buckets/lake?region=us-east-1"),
        ("s3://lake", "s3/buckets/lake?region=us-east-1"),
        ("s3://lake/a&b=c#d", "s3/buckets/lake?region=us-east-1&prefix=a%26b%3Dc%23d/"),
        ("s3://Not_A_Bucket?x/y", None),
        ("s3://not_a_bucket/y", None),
        ("s3://lake?x=1/y", None),
    ],
)
@pytest.mark.parametrize("as_text", [False, True], ids=["mapping", "JSON"])
def test_an_s3_location_is_quoted(uri: str, page: str | None, *, as_text: bool) -> None:
    destination = {"destination": {"s3Destination": {"s3Uri": uri}}, "roleArn": "arn:aws:iam::1:role/r"}
    # A template of a mapping renders to a string.
    location: Any = str(destination) if as_text else destination
    task = CleanRoomsMLPutMLConfigurationOperator(
        task_id="t", membership_identifier=COLLABORATION, default_output_location=location, region_name="us-east-1"
    )
    expected = f"https://us-east-1.console.aws.amazon.com/{page}" if page else None
    assert store_links(task).get("Output in S3") == expected


def test_sql_seed_has_no_link_and_is_not_shown() -> None:
    seed: Any = {"sqlParameters": {"queryString": "SELECT 's3://secret/x'"}, "roleArn": "arn:aws:iam::1:role/r"}
    task = CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="t", name="g", configured_audience_model_arn="arn:aws:cleanrooms-ml:us-east-1:1:x/1", seed_audience=seed
    )
    context: Any = {"ti": TaskInstance(), "params": {}}
    task.render_template_fields(context)
    assert "secret" not in str(store_links(task))
    assert "Input in S3" not in store_links(task)


def test_input_channel_shows_no_sql(studio: Studio) -> None:
    query: Any = studio.build_input_channel("SELECT secret FROM events WHERE path = 's3://secret/x'")
    task = CleanRoomsMLCreateMLInputChannelOperator(
        task_id="t",
        **studio.soon,
        name="channel",
        configured_model_algorithm_associations=[studio.association],
        input_channel=query,
        retention_in_days=1,
    )
    ti = TaskInstance()
    run(task, ti=ti)
    assert "API reference" in store_links(task)
    assert "secret" not in str((store_links(task), ti.links))


@pytest.mark.parametrize(
    ("operation", "name", "code"),
    [
        ("CreateAudienceModel", "Pending or in progress audience models", "/L-11056252"),
        ("CreateAudienceModel", "Active audience models", ""),
        ("StartAudienceGenerationJob", "Pending/In Progress Audience Generation Jobs per customer", "/L-2396565D"),
        ("CreateTrainedModel", "Pending/in progress custom model training jobs per membership", "/L-F6FC5155"),
        ("CreateTrainedModel", "Pending/in progress custom model training jobs per account", "/L-007D6EC0"),
        ("CreateTrainedModel", "ml.m5.xlarge instances for custom model training jobs", ""),
        ("StartTrainedModelInferenceJob", "Custom model inference jobs in progress per membership", "/L-0F77DDDB"),
        ("CreateTrainedModel", "", ""),
        ("SomeLaterOperation", "Pending audience models in progress", ""),
    ],
)
def test_the_quota_is_found_by_operation_and_name(operation: str, name: str, code: str) -> None:
    task = build_full_task(CleanRoomsMLCreateTrainedModelOperator, "aws")
    error = QuotaExceededError("full", operation=operation, details={"quotaName": name} if name else {})
    page = "https://eu-west-1.console.aws.amazon.com/servicequotas/home/services/cleanrooms-ml/quotas"
    assert store_links(task, error)["Service quota"] == page + code


def test_task_succeeds_if_links_cannot_be_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionError("no API server")

    monkeypatch.setattr(_compat, "store_link", fail)
    ti = TaskInstance()
    task_run = run(CleanRoomsMLCreateAudienceModelOperator(**build_arguments(world)), ti=ti)
    assert world.ml.get_audience_model(audienceModelArn=task_run.result)["status"] == "ACTIVE"


def test_a_link_that_cannot_be_read_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise ConnectionError("no API server")

    monkeypatch.setattr(_compat, "read_link", fail)
    task = build_full_task(CleanRoomsMLDeleteAudienceModelOperator, "aws")
    assert [link.get_link(task, ti_key=TaskInstance()) for link in LINKS] == [""] * len(LINKS)


def test_airflow_stores_the_links_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    task, ti = build_full_task(CleanRoomsMLCreateTrainedModelOperator, "aws"), TaskInstance()
    context: Any = {"ti": ti}

    def read(ti_key: Any, key: str) -> str:
        return ti.links.get(key, "")

    monkeypatch.setattr(_compat, "read_link", read)
    store_request_links(task, context)
    assert {link.xcom_key: url for link in LINKS if (url := link.get_link(task, ti_key=ti))} == ti.links
    # After a deferral, another process runs the task and adds a link.
    resumed = build_full_task(CleanRoomsMLCreateTrainedModelOperator, "aws")
    store_error_links(resumed, context, QuotaExceededError("full", operation="CreateTrainedModel"))
    assert len(ti.links) == 3
    assert {link.xcom_key: url for link in LINKS if (url := link.get_link(resumed, ti_key=ti))} == ti.links
    # A task that starts again knows that its other links are gone.
    monkeypatch.setattr(_compat, "read_link", lambda *_: pytest.fail("a link that does not exist is read"))
    store_request_links(task, context)
    assert ServiceQuotaLink().get_link(task, ti_key=ti) == ""


def test_links_of_users_are_left_alone(world: World) -> None:
    class OwnLink(_compat.BaseOperatorLink):
        name = "own"

        def get_link(self, operator: Any, *, ti_key: Any) -> str:
            return "https://example.org"

    class OwnOperator(CleanRoomsMLCreateAudienceModelOperator):
        operator_extra_links = (*CleanRoomsMLCreateAudienceModelOperator.operator_extra_links, OwnLink())

    ti = TaskInstance()
    run(OwnOperator(**build_arguments(world)), ti=ti)
    assert set(ti.links) - {DETAILS} == {REFERENCE}


def build_arguments(world: World, table: str = "interactions", **more: Any) -> dict[str, Any]:
    dataset = world.ml.create_training_dataset(
        name="d", roleArn=world.role, trainingData=world.build_training_data(table)
    )
    return {
        "task_id": "t",
        "name": "m",
        "training_dataset_arn": dataset["trainingDatasetArn"],
        "waiter_delay": 1,
        **more,
    }


@both_ways
def test_links_exist_while_the_task_waits(slow_studio: Studio, deferrable: bool) -> None:
    source: Any = slow_studio.build_input_channel()
    channel = CleanRoomsMLCreateMLInputChannelOperator(
        task_id="t",
        name="c",
        configured_model_algorithm_associations=[slow_studio.association],
        input_channel=source,
        retention_in_days=1,
        deferrable=deferrable,
        **slow_studio.mine,
        waiter_delay=1,
        waiter_max_attempts=3,
    )
    ti = TaskInstance()
    context: Any = {"ti": ti, "params": {}}
    channel.render_template_fields(context)
    with pytest.raises(TaskDeferred if deferrable else WaitTimeoutError):
        channel.execute(context)
    assert set(ti.links) - {DETAILS} == {REFERENCE, "_link_CollaborationLink"}
    assert ti.links["_link_CollaborationLink"].endswith(f"#/collaborations/{slow_studio.collaboration.id}")
    assert ti.links[REFERENCE].endswith("/API_CreateMLInputChannel.html")


@both_ways
def test_a_task_without_xcom_has_links(world: World, deferrable: bool) -> None:
    ti = TaskInstance()
    task_run = run(
        CleanRoomsMLCreateAudienceModelOperator(**build_arguments(world), deferrable=deferrable, do_xcom_push=False),
        ti=ti,
    )
    assert (set(ti.links), set(task_run.pushed) - {"return_value"}) == ({REFERENCE}, set())


@both_ways
def test_a_failed_job_has_links(world: World, deferrable: bool) -> None:
    ti = TaskInstance()
    with pytest.raises(JobFailedError):
        run(
            CleanRoomsMLCreateAudienceModelOperator(**build_arguments(world, "no_such_table"), deferrable=deferrable),
            ti=ti,
        )
    assert set(ti.links) - {DETAILS} == {REFERENCE}


@both_ways
def test_an_export_links_to_its_files(world: World, deferrable: bool) -> None:
    ti = TaskInstance()
    size: Any = {"type": "PERCENTAGE", "value": 10}
    task_run = run(
        CleanRoomsMLStartAudienceExportJobOperator(
            task_id="t",
            name="e",
            audience_generation_job_arn=world.generate_audience(),
            audience_size=size,
            deferrable=deferrable,
            waiter_delay=1,
        ),
        ti=ti,
    )
    bucket, _, key = task_run.result["output_location"].removeprefix("s3://").partition("/")
    url = urlsplit(ti.links["_link_OutputLink"])
    assert (url.netloc, url.path) == ("us-east-1.console.aws.amazon.com", f"/s3/buckets/{bucket}")
    assert parse_qs(url.query) == {"region": ["us-east-1"], "prefix": [key.rstrip("/") + "/"]}


@both_ways
def test_exceeded_quota_has_a_link(world: World, deferrable: bool) -> None:
    dataset = world.create_dataset()
    world.add_fault("CreateAudienceModel", "quota", times=0)
    create: dict[str, Any] = {"name": "m", "training_dataset_arn": dataset, "deferrable": deferrable}
    # The user guide does not list the quota of the fault.
    page = "https://us-east-1.console.aws.amazon.com/servicequotas/home/services/cleanrooms-ml/quotas"
    refused = TaskInstance()
    with pytest.raises(QuotaExceededError):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **create, quota_timeout=0), ti=refused)
    assert refused.links["_link_ServiceQuotaLink"] == page
    # The link also exists while the task waits.
    waiting = TaskInstance()
    operator = CleanRoomsMLCreateAudienceModelOperator(task_id="t", **create, quota_timeout=100)
    context: Any = {"ti": waiting, "params": {}}
    operator.render_template_fields(context)
    with pytest.raises(TaskDeferred if deferrable else QuotaExceededError):
        operator.execute(context)
    assert waiting.links["_link_ServiceQuotaLink"] == page


def test_a_quota_of_zero_has_a_link(studio: Studio) -> None:
    ti = TaskInstance()
    arguments = studio.build_training(resource_config={"instanceType": "ml.p4d.24xlarge", "volumeSizeInGB": 30})
    with pytest.raises(NoQuotaError):
        run(CleanRoomsMLCreateTrainedModelOperator(**arguments), ti=ti)
    assert ti.links["_link_ServiceQuotaLink"].endswith("/servicequotas/home/services/cleanrooms-ml/quotas")
    assert (
        "logsV2:log-groups/log-group/$252Faws$252Fcleanroomsml$252FTrainedModels" in ti.links["_link_ContainerLogsLink"]
    )


def test_call_operator_has_links_of_its_operation(world: World) -> None:
    dataset = world.create_dataset()
    world.add_fault("CreateAudienceModel", "quota")
    ti = TaskInstance()
    call = CleanRoomsMLCallOperator(
        task_id="t", operation="create_audience_model", parameters={"name": "m", "training_dataset_arn": dataset}
    )
    with pytest.raises(QuotaExceededError):
        run(call, ti=ti)
    assert ti.links[REFERENCE].endswith("/API_CreateAudienceModel.html")
    assert ti.links["_link_ServiceQuotaLink"].endswith("/cleanrooms-ml/quotas")


@both_ways
def test_sensor_learns_collaboration_from_first_poll(studio: Studio, deferrable: bool) -> None:
    ti = TaskInstance()
    sensor = CleanRoomsMLTrainedModelSensor(
        task_id="t", trained_model_arn=studio.model, **studio.mine, deferrable=deferrable, poke_interval=1
    )
    run(sensor, ti=ti)
    assert ti.links["_link_CollaborationLink"].endswith(f"#/collaborations/{studio.collaboration.id}")
    assert ti.links[REFERENCE].endswith("/API_GetTrainedModel.html")
