"""The policies of the how-to pages suffice for their tasks, and allow nothing else."""

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
#: The tasks of each page that has a policy; a call of a read needs what the job's task needs.
TASKS: dict[str, tuple[type[Any], ...]] = {
    "check_training_data": CHECKS,
    "follow_partner_jobs": FOLLOW,
    "weekly_retraining": RETRAINING,
    "choose_size": SEGMENT,
    "many_segments": SEGMENT,
    "wait_for_a_partner": PARTNER,
}
#: About no tasks of its own: its policy is what a notifier needs beside them.
NOTIFICATIONS = "retries_and_notifications"
PAGES = [FOLDER / "howto" / f"{name}.md" for name in (*TASKS, NOTIFICATIONS)]


def policy_of(page: Path) -> Any:
    (block,) = re.findall(r"^```json\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return json.loads(block)


def actions_of(name: str) -> list[str]:
    found: list[str] = []
    for statement in policy_of(FOLDER / "howto" / f"{name}.md")["Statement"]:
        action = statement["Action"]
        found.extend([action] if isinstance(action, str) else action)
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != NOTIFICATIONS], ids=lambda page: page.stem)
def test_a_page_has_what_its_tasks_need(page: Path) -> None:
    assert policy_of(page) == json.loads(build_policy(TASKS[page.stem]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_its_sections(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[-3:] == ["If it fails halfway", "Permissions", "Costs"]


def test_every_page_with_a_policy_is_tested_here() -> None:
    pages = sorted((FOLDER / "howto").glob("*.md"))
    assert {page.stem for page in pages if '"Effect": "Allow"' in page.read_text(encoding="utf-8")} == {
        *TASKS,
        NOTIFICATIONS,
    }


def test_a_role_with_the_policy_can_wait_for_a_partner(world: World) -> None:
    terms = world.create_configured_model()
    job = world.ml.start_audience_generation_job(
        name="segment", configuredAudienceModelArn=terms, seedAudience=world.write_seed()
    )["audienceGenerationJobArn"]
    world.wait(job)
    size = {"type": "PERCENTAGE", "value": 10}
    world.ml.start_audience_export_job(name="segment", audienceGenerationJobArn=job, audienceSize=size)
    world.emulator.allow(world.account, *actions_of("wait_for_a_partner"))
    new, done, exported = PARTNER
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    mine: dict[str, Any] = {"configured_audience_model_arn": terms, "started_by": world.account, "since": yesterday}
    assert run(new(task_id="t", **mine)).result == [job]
    assert run(done(task_id="t", audience_generation_job_arn=job)).result == job
    of: dict[str, Any] = {"audience_generation_job_arn": job, "name": "segment", "audience_size": size}
    assert run(exported(task_id="t", poke_interval=1, **of)).result["audience_generation_job_arn"] == job


def test_a_role_with_the_policy_can_retrain(world: World) -> None:
    terms = world.create_configured_model()
    old = world.ml.get_configured_audience_model(configuredAudienceModelArn=terms)["audienceModelArn"]
    created = world.ml.get_audience_model(audienceModelArn=old)["createTime"]
    dataset = world.create_dataset()
    world.emulator.allow(world.account, *actions_of("weekly_retraining"))
    for week in (1, 2):
        end = created + timedelta(weeks=week)
        check, create, promote, prune = RETRAINING
        run(check(task_id="t", configured_audience_model_arn=terms, training_data_end_time=end))
        model = run(
            create(task_id="t", name=f"weekly-{week}", training_dataset_arn=dataset, training_data_end_time=end)
        ).result
        run(promote(task_id="t", configured_audience_model_arn=terms, audience_model_arn=model))
        pruned = run(prune(task_id="t", keep=1, training_dataset_arn=dataset, not_newer_than=model)).result
    assert len(pruned["deleted"]) == 1


def test_a_role_with_the_policy_can_check(empty_world: World) -> None:
    data = TrainingData(empty_world)
    create_role(empty_world)
    dataset = data.create().create_dataset()
    seed: Any = empty_world.write_seed()
    empty_world.emulator.allow(empty_world.account, *actions_of("check_training_data"))
    check_data, check_seed = CHECKS
    assert run(check_data(task_id="t", training_dataset_arn=dataset)).result["errors"] == 0
    assert run(check_seed(task_id="t", seed_audience=seed)).result["users"] == 30


@pytest.mark.parametrize("name", ["choose_size", "many_segments"])
def test_a_role_with_the_policy_can_export_what_it_chooses(world: World, name: str) -> None:
    terms = world.create_configured_model()
    seed: Any = world.write_seed()
    world.emulator.allow(world.account, *actions_of(name))
    generate, choose, export = SEGMENT
    job = run(generate(task_id="t", name="segment", configured_audience_model_arn=terms, seed_audience=seed)).result
    size = run(choose(task_id="t", audience_generation_job_arn=job, policy="knee")).result
    exported = run(export(task_id="t", name="segment", audience_generation_job_arn=job, audience_size=size)).result
    assert exported["output_location"]


def test_a_role_with_the_policy_can_follow_partners_and_export(world: World, emulator: EmulatorProcess) -> None:
    offer = Offer(world, World(emulator).build())
    offer.partner.wait(offer.start_job(offer.partner, "job"))
    emulator.allow(world.account, *actions_of("follow_partner_jobs"))
    arguments: Any = {"since": 0x10000000, "configured_audience_model_arn": offer.model, "finished": True}
    sensor, export = FOLLOW
    (found,) = run(sensor(task_id="t", **arguments)).result
    watcher = CleanRoomsMLAudienceGenerationJobFinishedTrigger(since=0x10000000, waiter_delay=1)

    async def watch() -> Any:
        return (await anext(watcher.run())).payload

    assert asyncio.run(watch())["audience_generation_job_arn"] == found
    size: Any = {"type": "PERCENTAGE", "value": 10}
    assert run(export(task_id="t", name="e", audience_generation_job_arn=found, audience_size=size)).result[
        "output_location"
    ]


def test_a_notifier_needs_no_other_permission_than_its_page_says() -> None:
    assert actions_of(NOTIFICATIONS) == ["sns:Publish"]
