"""The package still works if Airflow, the amazon provider or botocore drops a private API that it uses."""

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


def test_connection_is_read_if_conn_config_is_not_cached(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    original: Any = AwsBaseHook.conn_config
    monkeypatch.setattr(AwsBaseHook, "conn_config", property(original.func))
    dataset = world.create_dataset()
    response = CleanRoomsMLHook().call("get_training_dataset", {"training_dataset_arn": dataset})
    assert response["trainingDatasetArn"] == dataset


def test_request_is_sent_if_amazon_provider_drops_get_caller(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(CleanRoomsMLHook, "_get_caller")
    task = CleanRoomsMLCallOperator(task_id="t", operation="list_training_datasets")
    assert run(task).result == {"trainingDatasets": []}


@pytest.mark.parametrize("environment", [Environment, NativeEnvironment])
def test_fields_are_rendered_and_hidden_without_airflows_method(
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


def test_deferral_timeout_differs_from_deferral_failure() -> None:
    assert _compat.is_deferral_timeout(_compat.TaskDeferralTimeout("Trigger timeout"))
    assert not _compat.is_deferral_timeout(_compat.TaskDeferralError("Trigger failure"))


class OtherSession:
    """A boto3 session without the private attribute ``_session``."""

    def __init__(self, session: Any) -> None:
        self._boto3 = session

    def __getattr__(self, name: str) -> Any:
        if name == "_session":
            raise AttributeError(name)
        return getattr(self._boto3, name)


def remove_session(monkeypatch: pytest.MonkeyPatch) -> None:
    original = CleanRoomsMLHook.__dict__["_session"]

    def build_session(hook: CleanRoomsMLHook) -> Any:
        return vars(hook).setdefault("_session", OtherSession(original.__get__(hook)))

    monkeypatch.setattr(CleanRoomsMLHook, "_session", property(build_session))


def remove_parser_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ResponseParserFactory, "set_parser_defaults")


def remove_get_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imitate a release of the amazon provider that finds the caller in another way."""
    monkeypatch.delattr(PollingHook, "_get_caller")
    monkeypatch.delattr(CleanRoomsMLHook, "_get_caller")
    assert hasattr(AwsBaseHook, "_get_caller")


@pytest.mark.parametrize("remove", [remove_session, remove_parser_defaults, remove_get_caller])
def test_wait_succeeds(
    world: World, remove: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = build_wait(start_training(world))
    remove(monkeypatch)
    poll_result = run_wait(wait)["poll_result"]
    assert (poll_result["status"], poll_result["outcome"]) == ("ACTIVE", "success")


def test_all_lists_every_public_function_and_class() -> None:
    own = {
        name
        for name, value in vars(_compat).items()
        if getattr(value, "__module__", "") == _compat.__name__ and callable(value) and not name.startswith("_")
    }
    assert own - {"T"} <= set(_compat.__all__)
