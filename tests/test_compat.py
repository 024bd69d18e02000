"""What still works when Airflow or the amazon provider drops a private part that the package uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.parsers import ResponseParserFactory
from jinja2 import Environment
from jinja2.nativetypes import NativeEnvironment

from airflow_cleanroomsml import _compat
from airflow_cleanroomsml._polling.client import PollingHook
from airflow_cleanroomsml._requests.sensitive import Hidden
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import CleanRoomsMLCallOperator
from tests.support import World, run
from tests.test_triggers import build_wait, run_wait, start_training


def drop(monkeypatch: pytest.MonkeyPatch, cls: Any, name: str) -> None:
    """Remove an attribute from a class and all of its bases."""
    for base in cls.__mro__:
        if name in vars(base):
            monkeypatch.delattr(base, name)


def test_the_connection_is_read_if_it_is_another_kind_of_property(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    provided: Any = AwsBaseHook.conn_config
    monkeypatch.setattr(AwsBaseHook, "conn_config", property(provided.func))
    dataset = world.create_dataset()
    found = CleanRoomsMLHook().call("get_training_dataset", {"training_dataset_arn": dataset})
    assert found["trainingDatasetArn"] == dataset


def test_a_request_is_sent_if_the_amazon_provider_finds_the_caller_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(CleanRoomsMLHook, "_get_caller")
    task = CleanRoomsMLCallOperator(task_id="t", operation="list_training_datasets")
    assert run(task).result == {"trainingDatasets": []}


@pytest.mark.parametrize("environment", [Environment, NativeEnvironment])
def test_fields_are_rendered_and_hidden_without_airflows_way_to_render(
    monkeypatch: pytest.MonkeyPatch, environment: type[Environment]
) -> None:
    drop(monkeypatch, CleanRoomsMLCallOperator, "_do_render_template_fields")
    cls: Any = _compat.render_own_fields(type("Operator", (CleanRoomsMLCallOperator,), {}))
    task = cls(
        task_id="t",
        operation="start_protected_query",
        service="cleanrooms",
        parameters={"sql_parameters": {"queryString": "SELECT {{ params.column }}"}},
    )
    task.render_template_fields({"params": {"column": "income"}}, environment())
    assert task.operation == "start_protected_query"
    assert isinstance(task.parameters["sql_parameters"], Hidden)
    assert "income" not in repr(task.parameters)


def test_a_deferral_that_timed_out_is_told_from_one_that_failed() -> None:
    assert _compat.is_deferral_timeout(_compat.TaskDeferralTimeout("Trigger timeout"))
    assert not _compat.is_deferral_timeout(_compat.TaskDeferralError("Trigger failure"))


class OtherSession:
    """A session of boto3 whose private part has another name."""

    def __init__(self, session: Any) -> None:
        self._boto3 = session

    def __getattr__(self, name: str) -> Any:
        if name == "_session":
            raise AttributeError(name)
        return getattr(self._boto3, name)


def without_session(monkeypatch: pytest.MonkeyPatch) -> None:
    make = CleanRoomsMLHook.__dict__["_session"]

    def hidden(hook: CleanRoomsMLHook) -> Any:
        return vars(hook).setdefault("_session", OtherSession(make.__get__(hook)))

    monkeypatch.setattr(CleanRoomsMLHook, "_session", property(hidden))


def without_parser_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ResponseParserFactory, "set_parser_defaults")


def without_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a release of the amazon provider that finds the caller in another way."""
    monkeypatch.delattr(PollingHook, "_get_caller")
    monkeypatch.delattr(CleanRoomsMLHook, "_get_caller")
    assert hasattr(AwsBaseHook, "_get_caller")


@pytest.mark.parametrize("remove", [without_session, without_parser_defaults, without_caller])
def test_a_wait_does_without(
    world: World, remove: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = build_wait(start_training(world))
    remove(monkeypatch)
    seen = run_wait(wait)["poll_result"]
    assert (seen["status"], seen["outcome"]) == ("ACTIVE", "success")


def test_all_lists_every_public_function_and_class() -> None:
    own = {
        name
        for name, value in vars(_compat).items()
        if getattr(value, "__module__", "") == _compat.__name__ and callable(value) and not name.startswith("_")
    }
    assert own - {"T"} <= set(_compat.__all__)
