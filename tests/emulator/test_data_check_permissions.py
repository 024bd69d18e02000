"""The documented actions of Glue, S3 and IAM are those of the calls that a data check makes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from airflow_cleanroomsml.operators import CleanRoomsMLCheckSeedAudienceOperator, CleanRoomsMLCheckTrainingDataOperator
from tests.helpers.training_data import TrainingData, create_role
from tests.support import World, run
from tools.permissions import ALWAYS, FILES, PARTITIONED, SEED_IN_S3, Case, group_permissions

reads_files = pytest.mark.skipif(find_spec("pyarrow") is None, reason="reading files needs pyarrow")
#: Actions of S3 whose name differs from that of the operation (service authorization reference of S3).
ACTIONS = {"HeadBucket": "ListBucket", "ListObjectsV2": "ListBucket"}


def record_actions(operator: Any) -> set[str]:
    """Run a check, and return the actions of its calls."""
    actions: set[str] = set()

    def record(model: Any, **_: Any) -> None:
        actions.add(f"{model.service_model.service_name}:{ACTIONS.get(model.name, model.name)}")

    # A client inherits the event handlers of the session that creates it.
    operator.hook.get_session().events.register("before-call", record)
    run(operator)
    return actions


def list_documented(operator: Any, *cases: Case) -> set[str]:
    actions_by_case = group_permissions(type(operator))
    return {action for case in cases for action in actions_by_case[case]}


@pytest.mark.parametrize("statistics", [None, pytest.param("files", marks=reads_files)])
@pytest.mark.parametrize("partitioned", [False, True])
def test_training_data_check_makes_documented_calls(empty_world: World, partitioned: bool, statistics: Any) -> None:
    world = empty_world
    data: Any = TrainingData(world).create().data if partitioned else world.build().build_training_data()
    create_role(world)
    check = CleanRoomsMLCheckTrainingDataOperator(
        task_id="task",
        training_data=data,
        role_arn=world.role,
        statistics=statistics,
        min_interactions=1,
        min_users=1,
    )
    cases = (ALWAYS, *((PARTITIONED,) if partitioned else ()), *((FILES,) if statistics else ()))
    assert record_actions(check) == list_documented(check, *cases)


@pytest.mark.parametrize("in_s3", [False, True])
def test_seed_check_makes_documented_calls(empty_world: World, in_s3: bool) -> None:
    empty_world.create_bucket()
    create_role(empty_world)
    sql = {"sqlParameters": {"queryString": "SELECT user_id FROM users"}, "roleArn": empty_world.role}
    seed: Any = empty_world.write_seed() if in_s3 else sql
    check = CleanRoomsMLCheckSeedAudienceOperator(task_id="task", seed_audience=seed)
    assert record_actions(check) == list_documented(check, ALWAYS, *((SEED_IN_S3,) if in_s3 else ()))
