"""The actions of Glue, S3 and IAM on the page of the data checks are those of the calls that a check makes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from airflow_cleanroomsml.operators import CleanRoomsMLCheckSeedAudienceOperator, CleanRoomsMLCheckTrainingDataOperator
from tests.helpers.training_data import TrainingData, create_role
from tests.support import World, run
from tools.permissions import ALWAYS, FILES, PARTITIONED, SEED_IN_S3, Case, group_permissions

reads_files = pytest.mark.skipif(find_spec("pyarrow") is None, reason="files are read with pyarrow")
#: Actions of S3 that have another name than the operation (service authorization reference of S3).
ACTIONS = {"HeadBucket": "ListBucket", "ListObjectsV2": "ListBucket"}


def list_called(operator: Any) -> set[str]:
    """Run a check; return the actions of its calls."""
    called: set[str] = set()

    def record(model: Any, **_: Any) -> None:
        called.add(f"{model.service_model.service_name}:{ACTIONS.get(model.name, model.name)}")

    # The clients take over the handlers of the session that they are made by.
    operator.hook.get_session().events.register("before-call", record)
    run(operator)
    return called


def list_documented(operator: Any, *cases: Case) -> set[str]:
    listed = group_permissions(type(operator))
    return {action for case in cases for action in listed[case]}


@pytest.mark.parametrize("statistics", [None, pytest.param("files", marks=reads_files)])
@pytest.mark.parametrize("partitioned", [False, True])
def test_a_check_of_training_data_calls_what_its_page_lists(
    empty_world: World, partitioned: bool, statistics: Any
) -> None:
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
    assert list_called(check) == list_documented(check, *cases)


@pytest.mark.parametrize("in_s3", [False, True])
def test_a_check_of_a_seed_calls_what_its_page_lists(empty_world: World, in_s3: bool) -> None:
    empty_world.create_bucket()
    create_role(empty_world)
    sql = {"sqlParameters": {"queryString": "SELECT user_id FROM users"}, "roleArn": empty_world.role}
    seed: Any = empty_world.write_seed() if in_s3 else sql
    check = CleanRoomsMLCheckSeedAudienceOperator(task_id="task", seed_audience=seed)
    assert list_called(check) == list_documented(check, ALWAYS, *((SEED_IN_S3,) if in_s3 else ()))
