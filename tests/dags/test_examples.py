"""Every example Dag, run by ``dag.test()`` against the emulator, waiting in the worker and deferred."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.collaboration import collaborate
from tests.helpers.custom_models import Studio
from tests.helpers.deployment import ROOT, Deployment
from tests.helpers.offer import Offer
from tests.helpers.training_data import create_role
from tests.support import EmulatorProcess, World, build_interactions

EXAMPLES = ROOT / "example_dags"
# All runs in the worker come first, because another configuration requires another process of Airflow.
deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"], scope="module")
in_the_worker = pytest.mark.parametrize("deferrable", [False], ids=["sync"], scope="module")


def run_example(
    airflow: Deployment,
    example: str,
    conf: dict[str, Any],
    deferrable: bool,
    mark_success: str = "",
    **worlds: World,
) -> dict[str, Any]:
    """Run an example, and return the states and XComs of its tasks."""
    airflow.connect(**worlds)
    return airflow.run(EXAMPLES / f"{example}.py", example, conf, deferrable=deferrable, mark_success=mark_success)


def run_for_results(
    airflow: Deployment, example: str, conf: dict[str, Any], deferrable: bool, **more: Any
) -> dict[str, Any]:
    """Run an example whose tasks must all succeed, and return their results; parameters as for :func:`run_example`."""
    found = run_for_xcom(airflow, example, conf, deferrable, **more)
    return {task: xcom.get("return_value") for task, xcom in found.items()}


def run_for_xcom(
    airflow: Deployment, example: str, conf: dict[str, Any], deferrable: bool, **more: Any
) -> dict[str, Any]:
    """Run an example whose tasks must all succeed, and return their XComs."""
    run = run_example(airflow, example, conf, deferrable, **more)
    states = {task: found["state"] for task, found in run["tasks"].items()}
    assert states == dict.fromkeys(states, "success"), airflow.run_log[-6000:]
    return {task: found["xcom"] for task, found in run["tasks"].items()}


def test_every_example_is_tested_here() -> None:
    here = Path(__file__).read_text()
    assert [path.stem for path in EXAMPLES.glob("*.py") if f'"{path.stem}"' not in here] == []


@in_the_worker
def test_second_run_right_after_the_first_succeeds(
    airflow: Deployment, emulator: EmulatorProcess, deferrable: bool
) -> None:
    world = World(emulator).build()
    conf = {
        "role_arn": world.role,
        "seed_uri": world.write_seed()["dataSource"]["s3Uri"],
        "output_uri": f"s3://{world.bucket}/audiences",
    }
    first, second = (
        run_for_xcom(airflow, "example_lookalike_audience", conf, deferrable, default=world) for _ in range(2)
    )
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
def test_each_party_sees_the_job_under_a_separate_arn(
    airflow: Deployment, emulator: EmulatorProcess, deferrable: bool
) -> None:
    provider, seeder = World(emulator).build(), World(emulator).build()
    collaboration = collaborate(provider, seeder)
    terms = provider.create_configured_model()
    seed = seeder.write_seed()
    conf = {
        "collaboration": collaboration.id,
        "configured_audience_model_arn": terms,
        "seed_uri": seed["dataSource"]["s3Uri"],
        "seed_role_arn": seeder.role,
    }
    found = run_for_results(
        airflow, "example_lookalike_two_parties", conf, deferrable, provider=provider, seeder=seeder
    )
    assert found["membership"] == collaboration.find_membership(provider)
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
    # The Dag deletes them at the end.
    assert seeder.ml.list_audience_generation_jobs()["audienceGenerationJobs"] == []
    of = {"membershipIdentifier": collaboration.find_membership(provider)}
    left = provider.client("cleanrooms").list_configured_audience_model_associations(**of)
    assert left["configuredAudienceModelAssociationSummaries"] == []


@deferred_or_not
def test_each_run_exports_partner_jobs_finished_since_the_last(
    airflow: Deployment, emulator: EmulatorProcess, deferrable: bool
) -> None:
    # tests/dags/test_partner_jobs.py runs the Dag of the same file that has an asset watcher.
    example = "example_partner_jobs"
    offer = Offer(World(emulator).build(), World(emulator).build())
    airflow.connect(default=offer.owner)
    conf = {"configured_audience_model_arn": offer.model, "since": "2026-01-01T00:00:00+00:00"}
    found: list[list[str]] = []
    for names in (["first", "second"], ["third"]):
        for name in names:
            assert offer.partner.wait(offer.start_job(offer.partner, name))["status"] == "ACTIVE"
        ran = airflow.run(EXAMPLES / f"{example}.py", f"{example}_sensor", conf, deferrable=deferrable)
        assert ran["state"] == "success", airflow.run_log[-6000:]
        found.append([job["name"] for job in ran["tasks"]["partner_jobs"]["xcom"]["jobs"]])
    account = offer.partner.account
    assert found == [[f"{account}-first", f"{account}-second"], [f"{account}-third"]]
    assert len(offer.owner.ml.list_audience_export_jobs()["audienceExportJobs"]) == 3


def train_last_month(emulator: EmulatorProcess) -> tuple[World, str, str, str]:
    """Build an account with interactions of four weeks; returns it, a model of the first two weeks, its terms and its dataset."""
    month = 28 * 86_400
    world = World(emulator).build(build_interactions(each=40, begin=int(time.time()) - month, seconds=month))
    dataset = world.create_dataset()
    old = world.ml.create_audience_model(
        name="old", trainingDatasetArn=dataset, trainingDataEndTime=time.time() - month / 2
    )["audienceModelArn"]
    assert world.wait(old)["status"] == "ACTIVE"
    terms = world.ml.create_configured_audience_model(
        name="terms", audienceModelArn=old, outputConfig=world.output, sharedAudienceMetrics=["ALL"]
    )["configuredAudienceModelArn"]
    return world, old, terms, dataset


@deferred_or_not
def test_model_is_retrained_and_rolled_back(airflow: Deployment, emulator: EmulatorProcess, deferrable: bool) -> None:
    world, old, terms, dataset = train_last_month(emulator)
    conf = {"training_dataset_arn": dataset, "configured_audience_model_arn": terms, "keep": 1}
    found = run_for_results(airflow, "example_weekly_retraining", conf, deferrable, default=world)
    assert found["check"] == old
    new = found["train"]
    assert found["promote"] == new
    assert found["prune"] == {"deleted": [], "kept": {new: "used by 'terms'"}, "gone": {}, "report_only": False}
    model = world.ml.get_audience_model(audienceModelArn=new)
    assert (model["trainingDataEndTime"] - model["trainingDataStartTime"]).days == 7
    conf = {"configured_audience_model_arn": terms, "audience_model_arn": old, "instead_of": new}
    found = run_for_results(airflow, "example_weekly_retraining_rollback", conf, deferrable, default=world)
    assert found["roll_back"] == old
    assert world.ml.get_configured_audience_model(configuredAudienceModelArn=terms)["audienceModelArn"] == old


def test_task_groups_retrain_and_export(airflow: Deployment, emulator: EmulatorProcess) -> None:
    world, _, terms, dataset = train_last_month(emulator)
    conf = {
        "training_dataset_arn": dataset,
        "configured_audience_model_arn": terms,
        "role_arn": world.role,
        "seed_uri": world.write_seed()["dataSource"]["s3Uri"],
    }
    found = run_for_results(airflow, "example_task_groups", conf, deferrable=False, default=world)
    new = found["retrained_audience_model.promote"]
    job = world.ml.get_audience_generation_job(audienceGenerationJobArn=found["lookalike_audience.generate"])
    assert world.ml.get_configured_audience_model(configuredAudienceModelArn=terms)["audienceModelArn"] == new
    assert job["configuredAudienceModelArn"] == terms
    assert found["lookalike_audience.export"]["output_location"].startswith(f"s3://{world.bucket}/audiences/")


@in_the_worker
def test_manual_run_needs_no_retrained_model(airflow: Deployment, emulator: EmulatorProcess, deferrable: bool) -> None:
    world = World(emulator).build()
    terms = world.create_configured_model()
    seed = world.write_seed()["dataSource"]["s3Uri"]
    conf = {"configured_audience_model_arn": terms, "role_arn": world.role, "seed_uri": seed}
    found = run_for_results(airflow, "example_model_retrained", conf, deferrable, default=world)
    job = world.ml.get_audience_generation_job(audienceGenerationJobArn=found["generate"])
    assert job["configuredAudienceModelArn"] == terms


@deferred_or_not
def test_terms_are_changed_and_resources_deleted(
    airflow: Deployment, emulator: EmulatorProcess, deferrable: bool
) -> None:
    world = World(emulator).build()
    terms, model = world.create_configured_model(), world.train_model("other")
    conf = {"configured_audience_model_arn": terms, "audience_model_arn": model, "partner": "210987654321"}
    run_for_results(airflow, "example_lookalike_terms", conf, deferrable, default=world)
    now = world.ml.get_configured_audience_model(configuredAudienceModelArn=terms)
    assert now["audienceModelArn"] == model
    assert "offered-by" in now["tags"]
    policy = world.ml.get_configured_audience_model_policy(configuredAudienceModelArn=terms)
    assert "210987654321" in policy["configuredAudienceModelPolicy"]
    dataset = world.ml.get_audience_model(audienceModelArn=model)["trainingDatasetArn"]
    conf = {"configured_audience_model_arn": terms, "audience_model_arn": model, "training_dataset_arn": dataset}
    for _ in range(2):
        run_for_results(airflow, "example_lookalike_removal", conf, deferrable, default=world)
    left = world.ml.list_training_datasets()["trainingDatasets"]
    assert [entry["trainingDatasetArn"] for entry in left].count(dataset) == 0


@deferred_or_not
def test_chosen_size_is_exported(airflow: Deployment, emulator: EmulatorProcess, deferrable: bool) -> None:
    world = World(emulator).build()
    conf = {
        "configured_audience_model_arn": world.create_configured_model(),
        "role_arn": world.role,
        "seed_uri": world.write_seed()["dataSource"]["s3Uri"],
        "min_relevance": -0.9,
    }
    # The approval task is marked as success, because no user approves the run.
    found = run_for_results(airflow, "example_choose_size", conf, deferrable, mark_success="approve", default=world)
    assert found["choose"] == {"type": "PERCENTAGE", "value": 20}
    (export,) = world.ml.list_audience_export_jobs(audienceGenerationJobArn=found["generate"])["audienceExportJobs"]
    assert export["audienceSize"] == found["choose"]


@deferred_or_not
def test_training_and_seed_are_checked_first(airflow: Deployment, emulator: EmulatorProcess, deferrable: bool) -> None:
    pytest.importorskip("pyarrow", reason="the older sessions have no pyarrow")
    world = World(emulator).build()
    create_role(world)
    conf = {
        "training_dataset_arn": world.create_dataset(),
        "configured_audience_model_arn": world.create_configured_model(),
        "role_arn": world.role,
        "seed_uri": world.write_seed()["dataSource"]["s3Uri"],
        "statistics": "files",
        "min_interactions": 1_000,
        "min_users": 100,
        "min_seed_size": 2,
    }
    found = run_for_results(airflow, "example_checked_training", conf, deferrable, default=world)
    assert found["check_data"]["statistics"]["users"] == 200
    assert found["check_seed"]["users"] == 30
    assert found["promote"] == found["train"]
    # A missing seed stops the run before it starts anything that is billed.
    trained = world.calls.count("CreateAudienceModel")
    conf["seed_uri"] = f"s3://{world.bucket}/nowhere.jsonl"
    run = run_example(airflow, "example_checked_training", conf, deferrable, default=world)
    states = {task: found["state"] for task, found in run["tasks"].items()}
    assert (states["check_data"], states["check_seed"]) == ("success", "failed")
    assert {states[task] for task in ("train", "promote", "generate")} == {"upstream_failed"}
    assert world.calls.count("CreateAudienceModel") == trained


def test_good_ones_of_25_segments_are_exported(airflow: Deployment, emulator: EmulatorProcess) -> None:
    world = World(emulator).build()
    # The third seed does not exist; the seventeenth has users that are not among the training users.
    bad = {3: None, 17: ["nobody", "else"]}
    for number in set(range(1, 26)) - {3}:
        users = bad.get(number) or [f"u{index}" for index in range(number % 4, 120, 4)]
        body = "".join(json.dumps({"user_id": user}) + "\n" for user in users).encode()
        world.client("s3").put_object(Bucket=world.bucket, Key=f"seeds/segment-{number:02}.jsonl", Body=body)
    conf = {
        "configured_audience_model_arn": world.create_configured_model(),
        "role_arn": world.role,
        "seeds_uri": f"s3://{world.bucket}/seeds",
    }
    run = run_example(airflow, "example_many_segments", conf, deferrable=True, default=world)
    assert run["state"] == "success"
    states = {
        task: Counter(found["state"] for key, found in run["mapped"].items() if key.startswith(f"segment.{task}["))
        for task in ("generate", "export", "report")
    }
    assert states == {
        "generate": {"success": 23, "failed": 2},
        "export": {"success": 23, "upstream_failed": 2},
        "report": {"success": 25},
    }
    labels = {found["label"][:10] for key, found in run["mapped"].items() if key.startswith("segment.generate[")}
    assert labels == {f"segment-{number:02}" for number in range(1, 26)}
    summary = run["tasks"]["summarize"]["xcom"]["return_value"]
    assert len(summary["exported"]) == 23
    assert all(location.startswith(f"s3://{world.bucket}/audiences/") for location in summary["exported"].values())
    reasons = {name[:10]: reason for name, reason in summary["failed"].items()}
    assert set(reasons) == {"segment-03", "segment-17"}
    assert "segment-03.jsonl" in reasons["segment-03"]
    assert "minMatchingSeedSize" in reasons["segment-17"]


@deferred_or_not
def test_custom_model(airflow: Deployment, emulator: EmulatorProcess, deferrable: bool) -> None:
    world = World(emulator)
    collaboration = collaborate(world)
    conf = {"collaboration": collaboration.id, "account": world.account, "role_arn": world.role}
    found = run_for_results(airflow, "example_custom_model", conf, deferrable, default=world)
    of = {"membershipIdentifier": collaboration.find_membership(world)}
    assert found["export"]["trained_model_arn"] == found["train"]
    assert found["exported"] == found["export"]
    job = world.ml.get_trained_model_inference_job(**of, trainedModelInferenceJobArn=found["infer"])
    assert (job["status"], job["logsStatus"]) == ("ACTIVE", "PUBLISH_SUCCEEDED")
    # The Dag deletes them at the end; the service keeps them as INACTIVE.
    assert world.ml.get_trained_model(**of, trainedModelArn=found["train"])["status"] == "INACTIVE"
    channels = world.ml.list_ml_input_channels(**of)["mlInputChannelsList"]
    assert [entry["status"] for entry in channels] == ["INACTIVE", "INACTIVE"]
    assert world.ml.list_configured_model_algorithms()["configuredModelAlgorithms"] == []


@in_the_worker
def test_trial_is_cancelled_or_finished(airflow: Deployment, emulator: EmulatorProcess, deferrable: bool) -> None:
    studio = Studio(World(emulator))
    conf = {
        "membership": studio.membership,
        "account": studio.world.account,
        "association_arn": studio.association,
        "channel_arn": studio.channel,
    }
    found = run_for_results(airflow, "example_custom_model_trial", conf, deferrable, default=studio.world)
    model = studio.ml.get_trained_model(**studio.of, trainedModelArn=found["train"])
    assert (model["status"], model["stoppingCondition"]) == ("ACTIVE", {"maxRuntimeInSeconds": 3600})
    job = studio.ml.get_trained_model_inference_job(**studio.of, trainedModelInferenceJobArn=found["infer"])
    assert job["status"] in ("INACTIVE", "ACTIVE")
