"""The retry policy of Airflow 3.3 and later, for errors that the emulator returns."""

from __future__ import annotations

import importlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_cleanroomsml import exceptions
from airflow_cleanroomsml._compat import AirflowFailException
from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from tests.support import World

try:
    sdk: Any = importlib.import_module("airflow.sdk")
except ImportError:  # Airflow 2.11
    sdk = None
HAS_POLICIES = hasattr(sdk, "RetryPolicy")
from_3_3 = pytest.mark.skipif(not HAS_POLICIES, reason="Airflow has retry policies since 3.3")


def build_policy(**arguments: Any) -> Any:
    return importlib.import_module("airflow_cleanroomsml.retries").CleanRoomsMLRetryPolicy(**arguments)


def provoke_error(world: World, fault: str, operation: str = "list_audience_models") -> CleanRoomsMLError:
    """Provoke the error that a task raises when the service refuses and botocore does not retry."""
    camel = "".join(part.capitalize() for part in operation.split("_"))
    world.add_fault(camel, fault, times=10)
    once = {"retries": {"total_max_attempts": 1}}
    with pytest.raises(CleanRoomsMLError) as raised:
        list(CleanRoomsMLHook(config=once).items(operation, {}))
    return raised.value


@from_3_3
@pytest.mark.parametrize(
    ("fault", "minutes"), [("throttle", 2), ("server_error", 1), ("reset", 1), ("access_denied", 1)]
)
def test_transient_error_is_retried_with_backoff(empty_world: World, fault: str, minutes: float) -> None:
    error = provoke_error(empty_world, fault)
    decisions = [build_policy().evaluate(error, number, 5) for number in (1, 2, 3)]
    assert {decision.action.value for decision in decisions} == {"retry"}
    delays = [decision.retry_delay / timedelta(minutes=minutes) for decision in decisions]
    assert all(least <= delay <= 1.25 * least for least, delay in zip((1, 2, 4), delays, strict=True))
    assert build_policy().evaluate(error, 10_000, 5).retry_delay <= timedelta(hours=1.25)


@from_3_3
def test_other_errors_are_left_to_the_task() -> None:
    assert build_policy().evaluate(ValueError("x"), 1, 5).action.value == "default"


@from_3_3
def test_users_rules_come_first(empty_world: World) -> None:
    error = provoke_error(empty_world, "throttle")
    rule = sdk.RetryRule(type(error), sdk.RetryAction.FAIL)
    assert build_policy(rules=[rule]).evaluate(error, 1, 5).action.value == "fail"


@from_3_3
@pytest.mark.parametrize("delay", [timedelta(hours=6), timedelta(seconds=1), None])
def test_pause_of_a_users_rule_is_kept(empty_world: World, delay: timedelta | None) -> None:
    error = provoke_error(empty_world, "throttle")
    rule = sdk.RetryRule(CleanRoomsMLError, sdk.RetryAction.RETRY, delay, "because")
    decision = build_policy(rules=[rule]).evaluate(error, 3, 5)
    assert (decision.action.value, decision.retry_delay, decision.reason) == ("retry", delay, "because")
    # The user's rules do not name this error.
    other = sdk.RetryRule(ValueError, sdk.RetryAction.RETRY, delay)
    assert build_policy(rules=[other]).evaluate(error, 3, 5).retry_delay >= timedelta(minutes=8)


@from_3_3
def test_documentation_lists_every_retried_error() -> None:
    page = Path(__file__).parents[1] / "docs" / "howto" / "retries_and_notifications.md"
    rows = re.findall(r"^\| (`.*) \| (\d+) minutes? \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {name: int(minutes) for names, minutes in rows for name in re.findall(r"`(\w+)`", names)}
    pauses = {
        name: rule.retry_delay / timedelta(minutes=1)
        for name, kind in vars(exceptions).items()
        for rule in build_policy().rules
        if is_retried_error(kind) and issubclass(kind, tuple(rule.exception))
    }
    assert documented == pauses


def is_retried_error(kind: Any) -> bool:
    """Whether it is an error class that Airflow retries."""
    return isinstance(kind, type) and issubclass(kind, CleanRoomsMLError) and not issubclass(kind, AirflowFailException)


@pytest.mark.skipif(HAS_POLICIES, reason="this Airflow has retry policies")
def test_error_in_older_airflow_names_version() -> None:
    with pytest.raises(ImportError, match="needs Airflow 3.3"):
        build_policy()
