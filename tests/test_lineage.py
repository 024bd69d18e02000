"""What single tasks report to OpenLineage; ``tests/dags/test_lineage.py`` runs a Dag with Airflow's OpenLineage provider."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, cast

import pytest
from openlineage.client.serde import Serde

from airflow_cleanroomsml import operators, sensors
from airflow_cleanroomsml._compat import TaskDeferred
from airflow_cleanroomsml._lineage import build_lineage
from airflow_cleanroomsml._resources.data_flow import DataFlow, ServiceResource
from airflow_cleanroomsml.exceptions import ConflictError, JobFailedError, WaitTimeoutError
from tests.helpers.custom_models import SQL, Studio, versioned
from tests.support import TaskInstance, World, resume, run


def name(dataset: Any) -> str:
    """The URI of a dataset."""
    return f"{dataset.namespace}/{dataset.name}"


def named(arn: str) -> str:
    """What :func:`name` is for a resource of the service."""
    *namespace, resource = arn.split(":", 5)
    return f"{':'.join(namespace)}/{resource}"


def names(datasets: list[Any]) -> list[str]:
    return [name(dataset) for dataset in datasets]


def complete(operator: Any) -> Any:
    """Run a task, and return its lineage."""
    run(operator)
    return operator.get_openlineage_facets_on_complete(None)


def create_dataset(world: World, data: Any = None) -> operators.CleanRoomsMLCreateTrainingDatasetOperator:
    data = data or world.build_training_data()
    return operators.CleanRoomsMLCreateTrainingDatasetOperator(
        task_id="t", name="dataset", role_arn=world.role, training_data=data
    )


def test_a_training_dataset_has_the_columns_of_its_table(world: World) -> None:
    lineage = complete(create_dataset(world))
    (table,), (dataset,) = lineage.inputs, lineage.outputs
    assert name(table) == f"arn:aws:glue:us-east-1:{world.account}/table/lookalike/interactions"
    fields = [(field.name, field.description) for field in table.facets["schema"].fields]
    assert fields == [("user_id", "USER_ID"), ("item_id", "ITEM_ID"), ("timestamp", "TIMESTAMP")]
    (source,) = dataset.facets["columnLineage"].fields["item_id"].inputFields
    assert (source.namespace, source.name, source.field) == (table.namespace, table.name, "item_id")


def test_a_table_of_another_account_has_its_catalog(world: World) -> None:
    data: Any = world.build_training_data()
    data[0]["inputConfig"]["dataSource"]["glueDataSource"]["catalogId"] = "210987654321"
    assert names(complete(create_dataset(world, data)).inputs) == [
        "arn:aws:glue:us-east-1:210987654321/table/lookalike/interactions",
    ]


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
def test_a_failed_job_has_read_but_not_written(world: World, deferrable: bool) -> None:
    dataset = world.create_dataset()
    world.add_fault("CreateAudienceModel", "fail_job")
    operator = operators.CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="model", training_dataset_arn=dataset, waiter_delay=0.2, deferrable=deferrable
    )
    with pytest.raises(JobFailedError):
        run(operator)
    (entry,) = world.ml.list_audience_models()["audienceModels"]
    lineage = operator.get_openlineage_facets_on_failure(None)
    assert (names(lineage.inputs), lineage.outputs) == ([named(dataset)], [])
    assert lineage.run_facets["cleanroomsml_resource"].members == {"audience_model_arn": entry["audienceModelArn"]}


def test_another_run_in_the_same_process_starts_anew(world: World) -> None:
    operator = create_dataset(world)
    run(operator)
    world.add_fault("ListTrainingDatasets", "access_denied", times=9)
    world.add_fault("CreateTrainingDataset", "access_denied", times=9)
    with pytest.raises(Exception, match="AccessDenied"):
        run(operator)
    assert operator.get_openlineage_facets_on_failure(None).run_facets == {}


def test_a_query_is_named_but_its_sql_is_not(studio: Studio) -> None:
    query: Any = studio.build_input_channel(f"{SQL} WHERE path = 's3://bucket/secret'")
    operator = operators.CleanRoomsMLCreateMLInputChannelOperator(
        task_id="t",
        **studio.soon,
        name="channel",
        configured_model_algorithm_associations=[studio.association],
        input_channel=query,
        retention_in_days=1,
    )
    done = run(operator)
    lineage = operator.get_openlineage_facets_on_complete(None)
    assert (names(lineage.inputs), names(lineage.outputs)) == ([named(studio.association)], [named(done.result)])
    assert lineage.run_facets["externalQuery"].externalQueryId == done.pushed["protected_query_identifier"]
    assert "secret" not in Serde.to_json(lineage)


def test_the_records_of_a_channel_are_its_size() -> None:
    channel = f"arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/{'0' * 36}/ml-input-channel/{'1' * 36}"
    members = {"ml_input_channel_arn": channel, "number_of_records": 1200, "number_of_files": 3.0}
    (output,) = build_lineage(DataFlow((), [ServiceResource(channel)], members=members), is_complete=True).outputs
    statistics = Serde.to_dict(output)["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["fileCount"]) == (1200, 3)


@versioned
def test_a_trained_model_reads_its_channels(studio: Studio) -> None:
    operator = operators.CleanRoomsMLCreateTrainedModelOperator(
        task_id="t",
        **studio.soon,
        name="model",
        configured_model_algorithm_association_arn=studio.association,
        data_channels=[{"mlInputChannelArn": studio.channel, "channelName": "train"}],
        resource_config={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        environment={"INPUT": "s3://bucket/secret"},
        hyperparameters={"warm_start": "s3://bucket/secret"},
    )
    done = run(operator)
    lineage = operator.get_openlineage_facets_on_complete(None)
    assert set(names(lineage.inputs)) == {named(studio.association), named(studio.channel)}
    assert names(lineage.outputs) == [named(done.result)]
    assert "secret" not in Serde.to_json(lineage)


def test_what_is_deleted_is_dropped(world: World) -> None:
    dataset = world.create_dataset()
    operator = operators.CleanRoomsMLDeleteTrainingDatasetOperator(task_id="t", training_dataset_arn=dataset)
    (dropped,) = complete(operator).outputs
    assert name(dropped) == named(dataset)
    assert Serde.to_dict(dropped)["facets"]["lifecycleStateChange"]["lifecycleStateChange"] == "DROP"


def test_what_could_not_be_deleted_is_not_dropped(world: World) -> None:
    dataset = world.ml.get_audience_model(audienceModelArn=world.train_model())["trainingDatasetArn"]
    operator = operators.CleanRoomsMLDeleteTrainingDatasetOperator(task_id="t", training_dataset_arn=dataset)
    with pytest.raises(ConflictError):
        run(operator)
    assert operator.get_openlineage_facets_on_failure(None).outputs == []


def test_a_deleted_policy_drops_no_model(world: World) -> None:
    operator = operators.CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator(
        task_id="t", configured_audience_model_arn=world.create_configured_model()
    )
    assert complete(operator).outputs == []


def test_a_promoted_model_leads_to_what_offers_it(world: World) -> None:
    terms, new = world.create_configured_model(), world.train_model("new")
    operator = operators.CleanRoomsMLPromoteAudienceModelOperator(
        task_id="t", configured_audience_model_arn=terms, audience_model_arn=new
    )
    for _ in range(2):
        lineage = complete(operator)
        assert (names(lineage.inputs), names(lineage.outputs)) == ([named(new)], [named(terms)])


def test_a_model_that_was_not_promoted_leads_nowhere(world: World) -> None:
    older, terms = world.train_model("older"), world.create_configured_model()
    operator = operators.CleanRoomsMLPromoteAudienceModelOperator(
        task_id="t", configured_audience_model_arn=terms, audience_model_arn=older
    )
    lineage = complete(operator)
    assert (names(lineage.inputs), lineage.outputs) == ([named(older)], [])


def test_an_update_leads_from_the_model_on_offer(world: World) -> None:
    terms, new = world.create_configured_model(), world.train_model("new")
    operator = operators.CleanRoomsMLUpdateConfiguredAudienceModelOperator(
        task_id="t", configured_audience_model_arn=terms, audience_model_arn=new
    )
    lineage = complete(operator)
    assert (names(lineage.inputs), names(lineage.outputs)) == ([named(new)], [named(terms)])


def test_pruned_models_are_dropped(world: World) -> None:
    old, new = world.train_model("weekly-1"), world.train_model("weekly-2")
    operator = operators.CleanRoomsMLPruneAudienceModelsOperator(task_id="t", keep=1, name_prefix="weekly-")
    run(operator)
    assert names(operator.get_openlineage_facets_on_complete(None).outputs) == [named(old)]
    assert new


def test_a_sensor_of_an_export_leads_to_its_location(world: World) -> None:
    job = world.generate_audience()
    size = {"type": "PERCENTAGE", "value": 10}
    world.ml.start_audience_export_job(name="export", audienceGenerationJobArn=job, audienceSize=size)
    sensor = sensors.CleanRoomsMLAudienceExportJobSensor(
        task_id="t", audience_generation_job_arn=job, name="export", poke_interval=0.2, timeout=60
    )
    done = run(sensor)
    lineage = sensor.get_openlineage_facets_on_complete(None)
    assert (names(lineage.inputs), names(lineage.outputs)) == (
        [named(job)],
        [done.result["output_location"].rstrip("/")],
    )


def test_a_choice_of_a_size_reads_the_job(world: World) -> None:
    job = world.generate_audience()
    operator = operators.CleanRoomsMLChooseAudienceSizeOperator(
        task_id="t", audience_generation_job_arn=job, policy="knee"
    )
    lineage = complete(operator)
    assert (names(lineage.inputs), lineage.outputs) == ([named(job)], [])


def test_any_operation_that_creates_something_has_lineage(world: World) -> None:
    dataset = world.create_dataset()
    operator = operators.CleanRoomsMLCallOperator(
        task_id="t",
        operation="create_audience_model",
        parameters={"name": "model", "training_dataset_arn": dataset},
        jmespath="audienceModelArn",
    )
    done = run(operator)
    lineage = operator.get_openlineage_facets_on_complete(None)
    assert (names(lineage.inputs), names(lineage.outputs)) == ([named(dataset)], [named(done.result)])


def test_reading_a_description_is_no_lineage(world: World) -> None:
    operator = operators.CleanRoomsMLCallOperator(
        task_id="t", operation="get_training_dataset", parameters={"training_dataset_arn": world.create_dataset()}
    )
    lineage = complete(operator)
    assert (lineage.inputs, lineage.outputs) == ([], [])


def test_the_age_of_a_model_is_no_lineage(world: World) -> None:
    operator = operators.CleanRoomsMLCheckAudienceModelAgeOperator(
        task_id="t",
        configured_audience_model_arn=world.create_configured_model(),
        training_data_end_time=datetime(2040, 1, 1, tzinfo=timezone.utc),
    )
    lineage = complete(operator)
    assert (lineage.inputs, lineage.outputs) == ([], [])


def defer(operator: Any, context: Any) -> BaseException:
    """Run a task until it is deferred."""
    operator.render_template_fields(context)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    return caught.value


def resumed(world: World, make: Any, before: str, after: str) -> Any:
    """Run a task whose template renders to another value when it resumes, in another process; return the resumed task."""
    ti, task = TaskInstance(), make()
    deferral = defer(make(), {"params": {"arn": before}, "ti": ti})
    world.emulator.advance(1100)
    context = {"params": {"arn": after}, "ti": ti}
    task.render_template_fields(context)
    resume(task, deferral, context)
    return task


def lineage_of(operator: Any) -> tuple[list[str], list[str]]:
    lineage = operator.get_openlineage_facets_on_complete(None)
    return names(lineage.inputs), names(lineage.outputs)


def train(**more: Any) -> operators.CleanRoomsMLCreateAudienceModelOperator:
    return operators.CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="model", training_dataset_arn="{{ params.arn }}", waiter_delay=0.2, **more
    )


def test_a_resumed_task_has_read_what_its_job_was_started_with(slow_world: World) -> None:
    first, second = slow_world.create_dataset("first"), slow_world.create_dataset("second")
    task = resumed(slow_world, lambda: train(deferrable=True), first, second)
    (entry,) = slow_world.ml.list_audience_models()["audienceModels"]
    assert lineage_of(task) == ([named(first)], [named(entry["audienceModelArn"])])


def test_a_resumed_export_has_written_its_audience_only(slow_world: World) -> None:
    first, second = slow_world.generate_audience("first"), slow_world.generate_audience("second")

    def export() -> Any:
        size: Any = {"type": "PERCENTAGE", "value": 10}
        return operators.CleanRoomsMLStartAudienceExportJobOperator(
            task_id="t",
            name="export",
            audience_generation_job_arn="{{ params.arn }}",
            audience_size=size,
            waiter_delay=0.2,
            deferrable=True,
        )

    inputs, (output,) = lineage_of(resumed(slow_world, export, first, second))
    assert inputs == [named(first)]
    assert output.startswith(f"s3://{slow_world.bucket}/")


def test_a_resumed_deletion_drops_what_was_deleted(slow_world: World) -> None:
    first, second = slow_world.train_model("first"), slow_world.train_model("second")
    slow_world.emulator.change_settings(delete_seconds=1000)

    def delete() -> Any:
        return operators.CleanRoomsMLDeleteAudienceModelOperator(
            task_id="t", audience_model_arn="{{ params.arn }}", waiter_delay=0.2, deferrable=True
        )

    assert lineage_of(resumed(slow_world, delete, first, second)) == ([], [named(first)])


def test_a_resumed_sensor_names_what_it_waited_for(slow_world: World) -> None:
    first, second = (
        slow_world.ml.create_audience_model(name=name, trainingDatasetArn=slow_world.create_dataset(name))[
            "audienceModelArn"
        ]
        for name in ("first", "second")
    )

    def sense() -> Any:
        return sensors.CleanRoomsMLAudienceModelSensor(
            task_id="t", audience_model_arn="{{ params.arn }}", poke_interval=0.2, deferrable=True
        )

    assert lineage_of(resumed(slow_world, sense, first, second)) == ([named(first)], [])


def test_a_task_that_times_out_in_the_triggerer_has_read_what_its_job_was_started_with(slow_world: World) -> None:
    first, second = slow_world.create_dataset("first"), slow_world.create_dataset("second")
    task, again = (train(deferrable=True, waiter_max_attempts=1) for _ in range(2))
    ti = TaskInstance()
    before, after = ({"params": {"arn": arn}, "ti": ti} for arn in (first, second))
    deferral = defer(task, before)
    again.render_template_fields(cast("Any", after))
    with pytest.raises(WaitTimeoutError):
        resume(again, deferral, after)
    assert names(again.get_openlineage_facets_on_failure(None).inputs) == [named(first)]


def test_a_retry_has_read_what_the_job_that_it_reuses_was_started_with(slow_world: World) -> None:
    first, second = slow_world.create_dataset("first"), slow_world.create_dataset("second")
    ti = TaskInstance()
    run(train(wait_for_completion=False), ti=ti, params={"arn": first})
    retry = train(wait_for_completion=False)
    done = run(retry, ti=ti.make_next_try(), params={"arn": second})
    assert lineage_of(retry) == ([named(first)], [named(done.result)])
