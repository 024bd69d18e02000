"""The policies in docs/iam_policies.md are sufficient for the example Dags that it names."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.helpers.collaboration import collaborate
from tests.helpers.deployment import ROOT, Deployment
from tests.support import EmulatorProcess, World

PAGE = (ROOT / "docs" / "iam_policies.md").read_text(encoding="utf-8")
POLICIES = {
    example: json.loads(policy)["Statement"]
    for example, policy in re.findall(r"For \[`(\w+)\.py`\].*?```json\n(.*?)```", PAGE, re.DOTALL)
}


def list_actions(example: str) -> list[str]:
    actions: list[str] = []
    for statement in POLICIES[example]:
        action = statement["Action"]
        actions.extend([action] if isinstance(action, str) else action)
    return actions


def prepare_lookalike(world: World) -> dict[str, Any]:
    world.build()
    return {
        "role_arn": world.role,
        "seed_uri": world.write_seed()["dataSource"]["s3Uri"],
        "output_uri": f"s3://{world.bucket}/audiences",
    }


def prepare_custom_model(world: World) -> dict[str, Any]:
    return {"collaboration": collaborate(world).id, "account": world.account, "role_arn": world.role}


#: Creates the resources that each example needs, and returns the conf of its run.
PREPARATIONS = {
    "example_lookalike_audience": prepare_lookalike,
    "example_custom_model": prepare_custom_model,
}


def run_example(airflow: Deployment, example: str, conf: dict[str, Any]) -> dict[str, str]:
    run = airflow.run(ROOT / "example_dags" / f"{example}.py", example, conf)
    return {task: str(found["state"]) for task, found in run["tasks"].items()}


def test_every_policy_is_tested_here() -> None:
    assert set(POLICIES) == set(PREPARATIONS)


@pytest.mark.parametrize("example", PREPARATIONS)
def test_role_with_the_policy_can_run_the_dag(airflow: Deployment, emulator: EmulatorProcess, example: str) -> None:
    world = World(emulator)
    conf = PREPARATIONS[example](world)
    airflow.connect(default=world)
    emulator.allow(world.account, *list_actions(example))
    states = run_example(airflow, example, conf)
    assert set(states.values()) == {"success"}, airflow.run_log[-6000:]


def test_dag_fails_without_pass_role(airflow: Deployment, emulator: EmulatorProcess) -> None:
    world = World(emulator)
    conf = prepare_custom_model(world)
    airflow.connect(default=world)
    emulator.allow(
        world.account, *(action for action in list_actions("example_custom_model") if action != "iam:PassRole")
    )
    assert run_example(airflow, "example_custom_model", conf)["configure"] != "success"
