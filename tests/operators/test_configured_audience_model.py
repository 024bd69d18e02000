from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import ConflictError, InvalidRequestError, ValidationError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLDeleteConfiguredAudienceModelOperator,
    CleanRoomsMLUpdateConfiguredAudienceModelOperator,
)
from tests.support import World, run


def create(world: World, model: str, **more: Any) -> Any:
    arguments = {
        "name": "c",
        "audience_model_arn": model,
        "output_config": world.output,
        "shared_audience_metrics": ["ALL"],
        **more,
    }
    return run(CleanRoomsMLCreateConfiguredAudienceModelOperator(task_id="t", **arguments)).result


def read_configured_model(world: World, arn: str) -> Any:
    return world.ml.get_configured_audience_model(configuredAudienceModelArn=arn)


def test_create_sends_arguments_and_returns_arn(world: World) -> None:
    sizes = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": "{{ [5, 10] }}"}
    arn = create(
        world,
        world.train_model(),
        min_matching_seed_size="{{ 30 }}",
        audience_size_config=sizes,
        child_resource_tag_on_create_policy="NONE",
    )
    configured = read_configured_model(world, arn)
    assert configured["minMatchingSeedSize"] == 30
    assert configured["audienceSizeConfig"] == {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [5, 10]}
    assert configured["outputConfig"] == world.output
    assert configured["childResourceTagOnCreatePolicy"] == "NONE"


def test_violations_are_reported_together_before_any_call(empty_world: World) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/m"
    with pytest.raises(InvalidRequestError) as caught:
        create(
            empty_world,
            arn,
            name="x" * 64,
            min_matching_seed_size=24,
            shared_audience_metrics=["SOME"],
            output_config={"destination": {"s3Destination": {"s3Uri": "b"}}, "roleArn": empty_world.role},
            audience_size_config={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": list(range(1, 27))},
            tags={"AWS:x": "1"},
            if_exists="reuse",
        )
    paths = [text.split(":")[0] for text in caught.value.violations]
    assert sorted(paths) == [
        "audience_size_config.audienceSizeBins",
        "min_matching_seed_size",
        "name",
        "output_config.destination.s3Destination.s3Uri",
        "shared_audience_metrics[0]",
        "tags key 'AWS",
    ]
    assert empty_world.calls == []


def test_service_decides_what_documents_disagree_on(world: World) -> None:
    sizes = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [40]}
    arn = create(world, world.train_model(), name="emoji 😀", audience_size_config=sizes)
    assert read_configured_model(world, arn)["name"] == "emoji 😀"


def test_service_rejects_untrained_model(slow_world: World) -> None:
    world = slow_world
    model = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())["audienceModelArn"]
    with pytest.raises(ValidationError, match="is not ACTIVE"):
        create(world, model)


def test_update_changes_only_given_members(world: World) -> None:
    arn, newer = world.create_configured_model(), world.train_model("newer")
    before = read_configured_model(world, arn)
    task = CleanRoomsMLUpdateConfiguredAudienceModelOperator(
        task_id="t", configured_audience_model_arn=arn, audience_model_arn=newer
    )
    assert run(task).result == arn
    after = read_configured_model(world, arn)
    assert after.pop("audienceModelArn") == newer
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"updateTime", "ResponseMetadata"}


def test_delete_fails_while_jobs_use_model(world: World) -> None:
    job = world.ml.get_audience_generation_job(audienceGenerationJobArn=world.generate_audience())
    arn = job["configuredAudienceModelArn"]
    task = CleanRoomsMLDeleteConfiguredAudienceModelOperator(task_id="t", configured_audience_model_arn=arn)
    with pytest.raises(ConflictError, match="generation jobs use"):
        run(task)


def test_delete(world: World) -> None:
    arn = world.create_configured_model()
    for _ in range(2):
        run(CleanRoomsMLDeleteConfiguredAudienceModelOperator(task_id="t", configured_audience_model_arn=arn))
    assert world.ml.list_configured_audience_models()["configuredAudienceModels"] == []
