"""Every example Dag, run by ``dag.test()`` against the emulator, waiting in the worker and deferred."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.collaboration import collaborate
from tests.helpers.custom_models import Studio
from tests.helpers.deployment import ROOT, Deployment
from tests.support import EmulatorProcess, World

EXAMPLES = ROOT / "example_dags"
# All runs in the worker come first: for another configuration the Dags need another process of Airflow.
deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"], scope="module")
in_the_worker = pytest.mark.parametrize("deferrable", [False], ids=["sync"], scope="module")


def ran(airflow: Deployment, example: str, conf: dict[str, Any], deferrable: bool, **worlds: World) -> dict[str, Any]:
    """The results of the tasks of a run, all of which succeeded."""
    found = pushed(airflow, example, conf, deferrable, **worlds)
    return {task: xcom.get("return_value") for task, xcom in found.items()}


def pushed(
    airflow: Deployment, example: str, conf: dict[str, Any], deferrable: bool, **worlds: World
) -> dict[str, Any]:
    """What the tasks of a run pushed to XCom; all of them succeeded."""
    airflow.connect(**worlds)
    run = airflow.run(EXAMPLES / f"{example}.py", example, conf, deferrable=deferrable)
    states = {task: found["state"] for task, found in run["tasks"].items()}
    assert states == dict.fromkeys(states, "success"), airflow.run_log[-6000:]
    return {task: found["xcom"] for task, found in run["tasks"].items()}


def test_all_are_run_here() -> None:
    here = Path(__file__).read_text()
    assert [path.stem for path in EXAMPLES.glob("*.py") if f'"{path.stem}"' not in here] == []


@in_the_worker
def test_a_second_run_right_after_the_first_works(
    airflow: Deployment, emulator: EmulatorProcess, deferrable: bool
) -> None:
    world = World(emulator).build()
    conf = {
        "role_arn": world.role,
        "seed_uri": world.seed()["dataSource"]["s3Uri"],
        "output_uri": f"s3://{world.bucket}/audiences",
    }
    first, second = (pushed(airflow, "example_lookalike_audience", conf, deferrable, default=world) for _ in range(2))
    for run in (first, second):
        found = {task: xcom.get("return_value") for task, xcom in run.items()}
        assert found["create_model"].startswith(f"arn:aws:cleanrooms-ml:us-east-1:{world.account}:audience-model/")
        assert found["export"]["audience_generation_job_arn"] == found["generate"]
        assert found["export"]["output_location"].startswith(f"s3://{world.bucket}/audiences/")
        assert run["generate"]["metrics"]["recallMetric"] > 0.3
    assert first["create_dataset"]["return_value"] == second["create_dataset"]["return_value"]
    assert first["create_model"]["return_value"] != second["create_model"]["return_value"]
    job = world.ml.get_audience_generation_job(audienceGenerationJobArn=first["generate"]["return_value"])
    assert job["configuredAudienceModelArn"] == first["configure_model"]["return_value"]


@deferred_or_not
def test_two_parties_each_see_the_job_under_an_arn_of_their_own(
    airflow: Deployment, emulator: EmulatorProcess, deferrable: bool
) -> None:
    provider, seeder = World(emulator).build(), World(emulator).build()
    collaboration = collaborate(provider, seeder)
    terms = provider.configured()
    seed = seeder.seed()
    conf = {
        "collaboration": collaboration.id,
        "configured_audience_model_arn": terms,
        "seed_uri": seed["dataSource"]["s3Uri"],
        "seed_role_arn": seeder.role,
    }
    found = ran(airflow, "example_lookalike_two_parties", conf, deferrable, provider=provider, seeder=seeder)
    assert found["membership"] == collaboration.of(provider)
    assert found["find"] == terms
    seeders, (providers,) = found["generate"], found["partners_jobs"]
    assert (seeders.split(":")[4], providers.split(":")[4]) == (seeder.account, provider.account)
    assert found["partners_job"] == providers
    assert {"StartAudienceGenerationJob", "CreateConfiguredAudienceModelAssociation"} <= {
        *seeder.calls,
        *provider.calls,
    }
    assert "StartAudienceGenerationJob" not in provider.calls
    assert "CreateConfiguredAudienceModelAssociation" not in seeder.calls
    # The files are in the provider's bucket, where the seeder does not see them.
    assert found["exported"]["output_location"] is None
    files = provider.client("s3").list_objects_v2(Bucket=provider.bucket, Prefix="audiences/")
    assert files["KeyCount"] >= 1
    # Taken away at the end.
    assert seeder.ml.list_audience_generation_jobs()["audienceGenerationJobs"] == []
    of = {"membershipIdentifier": collaboration.of(provider)}
    left = provider.client("cleanrooms").list_configured_audience_model_associations(**of)
    assert left["configuredAudienceModelAssociationSummaries"] == []


@deferred_or_not
def test_a_model_is_replaced_behind_its_terms_and_all_is_removed(
    airflow: Deployment, emulator: EmulatorProcess, deferrable: bool
) -> None:
    world = World(emulator).build()
    terms = world.configured()
    old = world.ml.get_configured_audience_model(configuredAudienceModelArn=terms)["audienceModelArn"]
    dataset = world.ml.get_audience_model(audienceModelArn=old)["trainingDatasetArn"]
    conf = {"training_dataset_arn": dataset, "configured_audience_model_arn": terms, "partner": "210987654321"}
    found = ran(airflow, "example_lookalike_retraining", conf, deferrable, default=world)
    assert found["old"] == old
    (model,) = world.ml.list_audience_models()["audienceModels"]
    now = world.ml.get_configured_audience_model(configuredAudienceModelArn=terms)
    assert model["audienceModelArn"] == found["train"] == now["audienceModelArn"] != old
    assert world.ml.list_tags_for_resource(resourceArn=found["train"])["tags"]["in-use"] == "yes"
    assert (
        "210987654321"
        in world.ml.get_configured_audience_model_policy(configuredAudienceModelArn=terms)[
            "configuredAudienceModelPolicy"
        ]
    )
    conf = {
        "configured_audience_model_arn": terms,
        "audience_model_arn": found["train"],
        "training_dataset_arn": dataset,
    }
    for _ in range(2):
        ran(airflow, "example_lookalike_removal", conf, deferrable, default=world)
    assert world.ml.list_training_datasets()["trainingDatasets"] == []


@deferred_or_not
def test_a_model_of_ones_own(airflow: Deployment, emulator: EmulatorProcess, deferrable: bool) -> None:
    world = World(emulator)
    collaboration = collaborate(world)
    conf = {"collaboration": collaboration.id, "account": world.account, "role_arn": world.role}
    found = ran(airflow, "example_custom_model", conf, deferrable, default=world)
    of = {"membershipIdentifier": collaboration.of(world)}
    assert found["export"]["trained_model_arn"] == found["train"]
    assert found["exported"] == found["export"]
    job = world.ml.get_trained_model_inference_job(**of, trainedModelInferenceJobArn=found["infer"])
    assert (job["status"], job["logsStatus"]) == ("ACTIVE", "PUBLISH_SUCCEEDED")
    # Taken away at the end: what the service keeps is INACTIVE.
    assert world.ml.get_trained_model(**of, trainedModelArn=found["train"])["status"] == "INACTIVE"
    channels = world.ml.list_ml_input_channels(**of)["mlInputChannelsList"]
    assert [entry["status"] for entry in channels] == ["INACTIVE", "INACTIVE"]
    assert world.ml.list_configured_model_algorithms()["configuredModelAlgorithms"] == []


@in_the_worker
def test_a_trial_is_cancelled_or_over(airflow: Deployment, emulator: EmulatorProcess, deferrable: bool) -> None:
    studio = Studio(World(emulator))
    conf = {
        "membership": studio.membership,
        "account": studio.world.account,
        "association_arn": studio.association,
        "channel_arn": studio.channel,
    }
    found = ran(airflow, "example_custom_model_trial", conf, deferrable, default=studio.world)
    model = studio.ml.get_trained_model(**studio.of, trainedModelArn=found["train"])
    assert (model["status"], model["stoppingCondition"]) == ("ACTIVE", {"maxRuntimeInSeconds": 3600})
    job = studio.ml.get_trained_model_inference_job(**studio.of, trainedModelInferenceJobArn=found["infer"])
    assert job["status"] in ("INACTIVE", "ACTIVE")
