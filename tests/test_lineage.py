"""The lineage that single tasks report to OpenLineage; ``tests/dags/test_lineage.py`` runs a Dag with Airflow's OpenLineage provider."""

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


def format_uri(dataset: Any) -> str:
    """Return the URI of a dataset."""
    return f"{dataset.namespace}/{dataset.name}"


def build_uri(arn: str) -> str:
    """Return the URI of the dataset that stands for a resource of the service."""
    *namespace, resource = arn.split(":", 5)
    return f"{':'.join(namespace)}/{resource}"


def list_uris(datasets: list[Any]) -> list[str]:
    return [format_uri(dataset) for dataset in datasets]


def complete(operator: Any) -> Any:
    """Run a task and return its lineage."""
    run(operator)
    return operator.get_openlineage_facets_on_complete(None)


def build_dataset_task(world: World, data: Any = None) -> operators.CleanRoomsMLCreateTrainingDatasetOperator:
    data = data or world.build_training_data()
    return operators.CleanRoomsMLCreateTrainingDatasetOperator(
        task_id="t", name="dataset", role_arn=world.role, training_data=data
    )


def test_a_training_dataset_has_the_columns_of_its_table(world: World) -> None:
    lineage = complete(build_dataset_task(world))
    (table,), (dataset,) = lineage.inputs, lineage.outputs
    assert format_uri(table) == f"arn:aws:glue:us-east-1:{world.account}/table/lookalike/interactions"
    fields = [(field.name, field.description) for field in table.facets["schema"].fields]
    assert fields == [("user_id", "USER_ID"), ("item_id", "ITEM_ID"), ("timestamp", "TIMESTAMP")]
    (source,) = dataset.facets["columnLineage"].fields["item_id"].inputFields
    assert (source.namespace, source.name, source.field) == (table.namespace, table.name, "item_id")


def test_table_of_another_account_has_catalog(world: World) -> None:
    data: Any = world.build_training_data()
    data[0]["inputConfig"]["dataSource"]["glueDataSource"]["catalogId"] = "210987654321"
    assert list_uris(complete(build_dataset_task(world, data)).inputs) == [
        "arn:aws:glue:us-east-1:210987654321/table/lookalike/interactions",
    ]


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
def test_failed_job_has_inputs_but_no_outputs(world: World, deferrable: bool) -> None:
    dataset = world.create_dataset()
    world.add_fault("CreateAudienceModel", "fail_job")
    operator = operators.CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="model", training_dataset_arn=dataset, waiter_delay=0.2, deferrable=deferrable
    )
    with pytest.raises(JobFailedError):
        run(operator)
    (entry,) = world.ml.list_audience_models()["audienceModels"]
    lineage = operator.get_openlineage_facets_on_failure(None)
    assert (list_uris(lineage.inputs), lineage.outputs) == ([build_uri(dataset)], [])
    assert lineage.run_facets["cleanroomsml_resource"].members == {"audience_model_arn": entry["audienceModelArn"]}


def test_next_run_in_same_process_forgets_resource(world: World) -> None:
    operator = build_dataset_task(world)
    run(operator)
    world.add_fault("ListTrainingDatasets", "access_denied", times=9)
    world.add_fault("CreateTrainingDataset", "access_denied", times=9)
    with pytest.raises(Exception, match="AccessDenied"):
        run(operator)
    assert operator.get_openlineage_facets_on_failure(None).run_facets == {}


def test_lineage_has_query_id_but_no_sql(studio: Studio) -> None:
    query: Any = studio.build_input_channel(f"{SQL} WHERE path = 's3://bucket/secret'")
    operator = operators.CleanRoomsMLCreateMLInputChannelOperator(
        task_id="t",
        **studio.soon,
        name="channel",
        configured_model_algorithm_associations=[studio.association],
        input_channel=query,
        retention_in_days=1,
    )
    task_run = run(operator)
    lineage = operator.get_openlineage_facets_on_complete(None)
    assert (list_uris(lineage.inputs), list_uris(lineage.outputs)) == (
        [build_uri(studio.association)],
        [build_uri(task_run.result)],
    )
    assert lineage.run_facets["externalQuery"].externalQueryId == task_run.pushed["protected_query_identifier"]
    assert "secret" not in Serde.to_json(lineage)


def test_channel_has_row_and_file_count() -> None:
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
    task_run = run(operator)
    lineage = operator.get_openlineage_facets_on_complete(None)
    assert set(list_uris(lineage.inputs)) == {
        build_uri(studio.association),
        build_uri(studio.channel),
    }
    assert list_uris(lineage.outputs) == [build_uri(task_run.result)]
    assert "secret" not in Serde.to_json(lineage)


def test_deleted_dataset_is_dropped(world: World) -> None:
    dataset = world.create_dataset()
    operator = operators.CleanRoomsMLDeleteTrainingDatasetOperator(task_id="t", training_dataset_arn=dataset)
    (dropped,) = complete(operator).outputs
    assert format_uri(dropped) == build_uri(dataset)
    assert Serde.to_dict(dropped)["facets"]["lifecycleStateChange"]["lifecycleStateChange"] == "DROP"


def test_failed_deletion_drops_nothing(world: World) -> None:
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


def test_promotion_leads_to_configured_model(world: World) -> None:
    configured_model, new = world.create_configured_model(), world.train_model("new")
    operator = operators.CleanRoomsMLPromoteAudienceModelOperator(
        task_id="t", configured_audience_model_arn=configured_model, audience_model_arn=new
    )
    for _ in range(2):
        lineage = complete(operator)
        assert (list_uris(lineage.inputs), list_uris(lineage.outputs)) == (
            [build_uri(new)],
            [build_uri(configured_model)],
        )


def test_rejected_promotion_has_no_output(world: World) -> None:
    older, configured_model = world.train_model("older"), world.create_configured_model()
    operator = operators.CleanRoomsMLPromoteAudienceModelOperator(
        task_id="t", configured_audience_model_arn=configured_model, audience_model_arn=older
    )
    lineage = complete(operator)
    assert (list_uris(lineage.inputs), lineage.outputs) == ([build_uri(older)], [])


def test_update_has_the_new_model_as_input(world: World) -> None:
    configured_model, new = world.create_configured_model(), world.train_model("new")
    operator = operators.CleanRoomsMLUpdateConfiguredAudienceModelOperator(
        task_id="t", configured_audience_model_arn=configured_model, audience_model_arn=new
    )
    lineage = complete(operator)
    assert (list_uris(lineage.inputs), list_uris(lineage.outputs)) == (
        [build_uri(new)],
        [build_uri(configured_model)],
    )


def test_pruned_models_are_dropped(world: World) -> None:
    old, new = world.train_model("weekly-1"), world.train_model("weekly-2")
    operator = operators.CleanRoomsMLPruneAudienceModelsOperator(task_id="t", keep=1, name_prefix="weekly-")
    run(operator)
    assert list_uris(operator.get_openlineage_facets_on_complete(None).outputs) == [build_uri(old)]
    assert new


def test_export_sensor_has_location_as_output(world: World) -> None:
    job = world.generate_audience()
    size = {"type": "PERCENTAGE", "value": 10}
    world.ml.start_audience_export_job(name="export", audienceGenerationJobArn=job, audienceSize=size)
    sensor = sensors.CleanRoomsMLAudienceExportJobSensor(
        task_id="t", audience_generation_job_arn=job, name="export", poke_interval=0.2, timeout=60
    )
    task_run = run(sensor)
    lineage = sensor.get_openlineage_facets_on_complete(None)
    assert (list_uris(lineage.inputs), list_uris(lineage.outputs)) == (
        [build_uri(job)],
        [task_run.result["output_location"].rstrip("/")],
    )


def test_size_choice_reads_the_job(world: World) -> None:
    job = world.generate_audience()
    operator = operators.CleanRoomsMLChooseAudienceSizeOperator(
        task_id="t", audience_generation_job_arn=job, policy="knee"
    )
    lineage = complete(operator)
    assert (list_uris(lineage.inputs), lineage.outputs) == ([build_uri(job)], [])


def test_called_create_operation_has_lineage(world: World) -> None:
    dataset = world.create_dataset()
    operator = operators.CleanRoomsMLCallOperator(
        task_id="t",
        operation="create_audience_model",
        parameters={"name": "model", "training_dataset_arn": dataset},
        jmespath="audienceModelArn",
    )
    task_run = run(operator)
    lineage = operator.get_openlineage_facets_on_complete(None)
    assert (list_uris(lineage.inputs), list_uris(lineage.outputs)) == (
        [build_uri(dataset)],
        [build_uri(task_run.result)],
    )


def test_called_get_operation_has_no_lineage(world: World) -> None:
    operator = operators.CleanRoomsMLCallOperator(
        task_id="t", operation="get_training_dataset", parameters={"training_dataset_arn": world.create_dataset()}
    )
    lineage = complete(operator)
    assert (lineage.inputs, lineage.outputs) == ([], [])


def test_age_check_has_no_lineage(world: World) -> None:
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


def defer_and_resume(world: World, make: Any, before: str, after: str) -> Any:
    """Defer a task, resume it as another process does, with a template that renders to another value; return the resumed task."""
    ti, task = TaskInstance(), make()
    deferral = defer(make(), {"params": {"arn": before}, "ti": ti})
    world.emulator.advance(1100)
    context = {"params": {"arn": after}, "ti": ti}
    task.render_template_fields(context)
    resume(task, deferral, context)
    return task


def read_uris(operator: Any) -> tuple[list[str], list[str]]:
    lineage = operator.get_openlineage_facets_on_complete(None)
    return list_uris(lineage.inputs), list_uris(lineage.outputs)


def build_training_task(**more: Any) -> operators.CleanRoomsMLCreateAudienceModelOperator:
    return operators.CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="model", training_dataset_arn="{{ params.arn }}", waiter_delay=0.2, **more
    )


def test_resumed_task_reports_input_of_its_job(slow_world: World) -> None:
    first, second = slow_world.create_dataset("first"), slow_world.create_dataset("second")
    task = defer_and_resume(slow_world, lambda: build_training_task(deferrable=True), first, second)
    (entry,) = slow_world.ml.list_audience_models()["audienceModels"]
    assert read_uris(task) == ([build_uri(first)], [build_uri(entry["audienceModelArn"])])


def test_resumed_export_reports_only_its_audience(slow_world: World) -> None:
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

    inputs, (output,) = read_uris(defer_and_resume(slow_world, export, first, second))
    assert inputs == [build_uri(first)]
    assert output.startswith(f"s3://{slow_world.bucket}/")


def test_resumed_deletion_drops_deleted_model(slow_world: World) -> None:
    first, second = slow_world.train_model("first"), slow_world.train_model("second")
    slow_world.emulator.change_settings(delete_seconds=1000)

    def delete() -> Any:
        return operators.CleanRoomsMLDeleteAudienceModelOperator(
            task_id="t", audience_model_arn="{{ params.arn }}", waiter_delay=0.2, deferrable=True
        )

    assert read_uris(defer_and_resume(slow_world, delete, first, second)) == ([], [build_uri(first)])


def test_resumed_sensor_reports_awaited_model(slow_world: World) -> None:
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

    assert read_uris(defer_and_resume(slow_world, sense, first, second)) == ([build_uri(first)], [])


def test_task_that_times_out_in_triggerer_reports_input_of_its_job(slow_world: World) -> None:
    first, second = slow_world.create_dataset("first"), slow_world.create_dataset("second")
    task, again = (build_training_task(deferrable=True, waiter_max_attempts=1) for _ in range(2))
    ti = TaskInstance()
    before, after = ({"params": {"arn": arn}, "ti": ti} for arn in (first, second))
    deferral = defer(task, before)
    again.render_template_fields(cast("Any", after))
    with pytest.raises(WaitTimeoutError):
        resume(again, deferral, after)
    assert list_uris(again.get_openlineage_facets_on_failure(None).inputs) == [build_uri(first)]


def test_retry_reports_input_of_the_job_that_it_reuses(slow_world: World) -> None:
    first, second = slow_world.create_dataset("first"), slow_world.create_dataset("second")
    ti = TaskInstance()
    run(build_training_task(wait_for_completion=False), ti=ti, params={"arn": first})
    retry = build_training_task(wait_for_completion=False)
    task_run = run(retry, ti=ti.make_next_try(), params={"arn": second})
    assert read_uris(retry) == ([build_uri(first)], [build_uri(task_run.result)])
