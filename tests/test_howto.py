"""The policies on the how-to pages allow what their tasks need, and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_cleanroomsml import operators, sensors
from airflow_cleanroomsml.triggers import CleanRoomsMLAudienceGenerationJobFinishedTrigger
from tests.helpers.offer import Offer
from tests.helpers.training_data import TrainingData, create_role
from tests.support import EmulatorProcess, World, run
from tools.docs import FOLDER
from tools.permissions import build_policy

RETRAINING = (
    operators.CleanRoomsMLCheckAudienceModelAgeOperator,
    operators.CleanRoomsMLCreateAudienceModelOperator,
    operators.CleanRoomsMLPromoteAudienceModelOperator,
    operators.CleanRoomsMLPruneAudienceModelsOperator,
)
SEGMENT = (
    operators.CleanRoomsMLStartAudienceGenerationJobOperator,
    operators.CleanRoomsMLChooseAudienceSizeOperator,
    operators.CleanRoomsMLStartAudienceExportJobOperator,
)
PARTNER = (
    sensors.CleanRoomsMLNewAudienceGenerationJobsSensor,
    sensors.CleanRoomsMLAudienceGenerationJobSensor,
    sensors.CleanRoomsMLAudienceExportJobSensor,
)
FOLLOW = (
    sensors.CleanRoomsMLNewAudienceGenerationJobsSensor,
    operators.CleanRoomsMLStartAudienceExportJobOperator,
)
CHECKS = (
    operators.CleanRoomsMLCheckTrainingDataOperator,
    operators.CleanRoomsMLCheckSeedAudienceOperator,
)
#: The tasks of each page that has a policy. Calls of Get operations need no permissions beyond those of the job's task.
TASKS: dict[str, tuple[type[Any], ...]] = {
    "check_training_data": CHECKS,
    "follow_partner_jobs": FOLLOW,
    "weekly_retraining": RETRAINING,
    "choose_size": SEGMENT,
    "many_segments": SEGMENT,
    "wait_for_a_partner": PARTNER,
}
#: This page has no tasks: its policy is what a notifier needs in addition to the task's policy.
NOTIFICATIONS = "retries_and_notifications"
PAGES = [FOLDER / "howto" / f"{name}.md" for name in (*TASKS, NOTIFICATIONS)]


def read_policy(page: Path) -> Any:
    (block,) = re.findall(r"^```json\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return json.loads(block)


def read_actions(name: str) -> list[str]:
    actions: list[str] = []
    for statement in read_policy(FOLDER / "howto" / f"{name}.md")["Statement"]:
        action = statement["Action"]
        actions.extend([action] if isinstance(action, str) else action)
    return actions


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != NOTIFICATIONS], ids=lambda page: page.stem)
def test_policy_matches_the_tasks(page: Path) -> None:
    assert read_policy(page) == json.loads(build_policy(TASKS[page.stem]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_its_sections(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[-3:] == ["If it fails halfway", "Permissions", "Costs"]


def test_every_page_with_a_policy_is_tested_here() -> None:
    pages = sorted((FOLDER / "howto").glob("*.md"))
    assert {page.stem for page in pages if '"Effect": "Allow"' in page.read_text(encoding="utf-8")} == {
        *TASKS,
        NOTIFICATIONS,
    }


def test_a_role_with_the_policy_can_wait_for_a_partner(world: World) -> None:
    configured_model = world.create_configured_model()
    job = world.ml.start_audience_generation_job(
        name="segment", configuredAudienceModelArn=configured_model, seedAudience=world.write_seed()
    )["audienceGenerationJobArn"]
    world.wait(job)
    size = {"type": "PERCENTAGE", "value": 10}
    world.ml.start_audience_export_job(name="segment", audienceGenerationJobArn=job, audienceSize=size)
    world.emulator.allow(world.account, *read_actions("wait_for_a_partner"))
    new_jobs_sensor, job_sensor, export_sensor = PARTNER
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    arguments: dict[str, Any] = {
        "configured_audience_model_arn": configured_model,
        "started_by": world.account,
        "since": yesterday,
    }
    assert run(new_jobs_sensor(task_id="t", **arguments)).result == [job]
    assert run(job_sensor(task_id="t", audience_generation_job_arn=job)).result == job
    identifiers: dict[str, Any] = {"audience_generation_job_arn": job, "name": "segment", "audience_size": size}
    assert run(export_sensor(task_id="t", poke_interval=1, **identifiers)).result["audience_generation_job_arn"] == job


def test_a_role_with_the_policy_can_retrain(world: World) -> None:
    configured_model = world.create_configured_model()
    old = world.ml.get_configured_audience_model(configuredAudienceModelArn=configured_model)["audienceModelArn"]
    created = world.ml.get_audience_model(audienceModelArn=old)["createTime"]
    dataset = world.create_dataset()
    world.emulator.allow(world.account, *read_actions("weekly_retraining"))
    for week in (1, 2):
        end = created + timedelta(weeks=week)
        check, create, promote, prune = RETRAINING
        run(check(task_id="t", configured_audience_model_arn=configured_model, training_data_end_time=end))
        model = run(
            create(task_id="t", name=f"weekly-{week}", training_dataset_arn=dataset, training_data_end_time=end)
        ).result
        run(promote(task_id="t", configured_audience_model_arn=configured_model, audience_model_arn=model))
        pruned = run(prune(task_id="t", keep=1, training_dataset_arn=dataset, not_newer_than=model)).result
    assert len(pruned["deleted"]) == 1


def test_a_role_with_the_policy_can_check(empty_world: World) -> None:
    data = TrainingData(empty_world)
    create_role(empty_world)
    dataset = data.create().create_dataset()
    seed: Any = empty_world.write_seed()
    empty_world.emulator.allow(empty_world.account, *read_actions("check_training_data"))
    check_data, check_seed = CHECKS
    assert run(check_data(task_id="t", training_dataset_arn=dataset)).result["errors"] == 0
    assert run(check_seed(task_id="t", seed_audience=seed)).result["users"] == 30


@pytest.mark.parametrize("name", ["choose_size", "many_segments"])
def test_a_role_with_the_policy_can_choose_and_export(world: World, name: str) -> None:
    configured_model = world.create_configured_model()
    seed: Any = world.write_seed()
    world.emulator.allow(world.account, *read_actions(name))
    generate, choose, export = SEGMENT
    job = run(
        generate(task_id="t", name="segment", configured_audience_model_arn=configured_model, seed_audience=seed)
    ).result
    size = run(choose(task_id="t", audience_generation_job_arn=job, policy="knee")).result
    exported = run(export(task_id="t", name="segment", audience_generation_job_arn=job, audience_size=size)).result
    assert exported["output_location"]


def test_a_role_with_the_policy_can_follow_partners_and_export(world: World, emulator: EmulatorProcess) -> None:
    offer = Offer(world, World(emulator).build())
    offer.partner.wait(offer.start_job(offer.partner, "job"))
    emulator.allow(world.account, *read_actions("follow_partner_jobs"))
    arguments: Any = {"since": 0x10000000, "configured_audience_model_arn": offer.model, "finished": True}
    sensor, export = FOLLOW
    (job,) = run(sensor(task_id="t", **arguments)).result
    watcher = CleanRoomsMLAudienceGenerationJobFinishedTrigger(since=0x10000000, waiter_delay=1)

    async def watch() -> Any:
        return (await anext(watcher.run())).payload

    assert asyncio.run(watch())["audience_generation_job_arn"] == job
    size: Any = {"type": "PERCENTAGE", "value": 10}
    assert run(export(task_id="t", name="e", audience_generation_job_arn=job, audience_size=size)).result[
        "output_location"
    ]


def test_notifier_needs_no_other_permission() -> None:
    assert read_actions(NOTIFICATIONS) == ["sns:Publish"]
