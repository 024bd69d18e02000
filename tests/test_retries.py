"""The retry policy of Airflow 3.3 and later, for errors that the emulator returns."""

from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from tests.support import World

try:
    sdk: Any = importlib.import_module("airflow.sdk")
except ImportError:  # Airflow 2.11
    sdk = None
HAS_POLICIES = hasattr(sdk, "RetryPolicy")
from_3_3 = pytest.mark.skipif(not HAS_POLICIES, reason="Airflow has retry policies since 3.3")


def policy(**arguments: Any) -> Any:
    return importlib.import_module("airflow_cleanroomsml.retries").CleanRoomsMLRetryPolicy(**arguments)


def refusal(world: World, fault: str, operation: str = "list_audience_models") -> CleanRoomsMLError:
    """The error that a task raises when the service refuses, and botocore tries no more."""
    camel = "".join(part.capitalize() for part in operation.split("_"))
    world.fault(camel, fault, times=10)
    once = {"retries": {"total_max_attempts": 1}}
    with pytest.raises(CleanRoomsMLError) as raised:
        list(CleanRoomsMLHook(config=once).items(operation, {}))
    return raised.value


@from_3_3
@pytest.mark.parametrize(
    ("fault", "minutes"), [("throttle", 2), ("server_error", 1), ("reset", 1), ("access_denied", 1)]
)
def test_what_may_pass_is_retried_later_each_time(empty_world: World, fault: str, minutes: float) -> None:
    error = refusal(empty_world, fault)
    decisions = [policy().evaluate(error, number, 5) for number in (1, 2, 3)]
    assert {decision.action.value for decision in decisions} == {"retry"}
    delays = [decision.retry_delay / timedelta(minutes=minutes) for decision in decisions]
    assert all(least <= delay <= 1.25 * least for least, delay in zip((1, 2, 4), delays, strict=True))
    assert policy().evaluate(error, 10_000, 5).retry_delay <= timedelta(hours=1.25)


@from_3_3
def test_other_errors_are_left_to_the_task() -> None:
    assert policy().evaluate(ValueError("x"), 1, 5).action.value == "default"


@from_3_3
def test_rules_of_the_user_come_first(empty_world: World) -> None:
    error = refusal(empty_world, "throttle")
    rule = sdk.RetryRule(type(error), sdk.RetryAction.FAIL)
    assert policy(rules=[rule]).evaluate(error, 1, 5).action.value == "fail"


@pytest.mark.skipif(HAS_POLICIES, reason="this Airflow has retry policies")
def test_an_older_airflow_is_told_what_is_missing() -> None:
    with pytest.raises(ImportError, match="needs Airflow 3.3"):
        policy()
