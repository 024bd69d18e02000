"""
The IAM actions that a task needs, from what its class calls.

An action has the name of the operation; what is not to be seen from the class stands here with its source.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from botocore import xform_name

from airflow_cleanroomsml.operators.base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators.base_create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators.base_kill import CleanRoomsMLEndingOperator
from airflow_cleanroomsml.operators.base_wait import CleanRoomsMLWaitingOperator
from airflow_cleanroomsml.resources import CLEAN_ROOMS, CLEAN_ROOMS_ML, Resource
from airflow_cleanroomsml.sensors.base import CleanRoomsMLSensor
from airflow_cleanroomsml.service_model import load, operation_model

_PREFIXES = {CLEAN_ROOMS_ML: "cleanrooms-ml", CLEAN_ROOMS: "cleanrooms"}
#: Whose callers pass a role to cleanrooms-ml.amazonaws.com (service authorization reference, Clean Rooms ML).
_PASS_ROLE = (
    "create_training_dataset",
    "create_configured_audience_model",
    "start_audience_generation_job",
    "create_configured_model_algorithm",
    "create_ml_input_channel",
    "put_ml_configuration",
)
_POLICY = ("cleanrooms-ml:PutConfiguredAudienceModelPolicy", "cleanrooms-ml:DeleteConfiguredAudienceModelPolicy")
_MANAGED = "where Clean Rooms manages the model's policy"
_REUSE = 'with `if_exists="reuse"`'
_FURTHER: dict[str, list[tuple[str, str]]] = {
    # "always required" (user guide, security-iam-awsmanpol).
    "start_audience_generation_job": [("", "cleanrooms:ListMembers")],
    # To create, update and delete the policy (API reference, manageResourcePolicies).
    "create_configured_audience_model_association": [(_MANAGED, action) for action in _POLICY],
    "delete_configured_audience_model_association": [(_MANAGED, action) for action in _POLICY],
}
#: Modules that a class calls the service through.
_CALLS_IN = {"CleanRoomsMLNewAudienceGenerationJobsSensor": "airflow_cleanroomsml.new_jobs"}


def permissions(cls: type[Any]) -> dict[str, list[str]]:
    """
    The actions, by the case in which they are needed; those under "" always are.

    :param cls: Operator or sensor.
    """
    found: dict[str, list[str]] = {}
    for case, action in _all(cls):
        if action not in found.get("", ()) and action not in found.setdefault(case, []):
            found[case].append(action)
    return {case: actions for case, actions in found.items() if actions}


def _all(cls: type[Any]) -> Iterator[tuple[str, str]]:
    operation = getattr(cls, "operation", "")
    if operation:
        yield "", _action(operation, cls.service)
        yield from _FURTHER.get(operation, ())
    if operation in _PASS_ROLE:
        yield "for the role", "iam:PassRole"
    yield from (("to look up what it needs" if operation else "", _action(called)) for called in _called(cls))
    if issubclass(cls, CleanRoomsMLSensor):
        yield from _of_a_sensor(cls)
    if issubclass(cls, CleanRoomsMLOperator):
        yield from _of_an_operator(cls)


def _of_a_sensor(cls: type[CleanRoomsMLSensor]) -> Iterator[tuple[str, str]]:
    partners: Resource | None = getattr(cls, "partners", None)
    yield from _reading(cls.resource, "with `membership_identifier`" if partners else "")
    if partners:
        yield from _reading(partners, "with `collaboration_identifier`")
    yield from _of_a_query(cls.resource)


def _of_an_operator(cls: type[Any]) -> Iterator[tuple[str, str]]:
    if issubclass(cls, CleanRoomsMLWaitingOperator):
        yield from _reading(cls.resource, "to wait")
    if issubclass(cls, CleanRoomsMLEndingOperator):
        cases = (("when the task is ended", cls.resource.cancel), ("with `delete_on_kill`", cls.resource.delete))
        yield from ((case, _action(operation, cls.service)) for case, operation in cases if operation)
    if issubclass(cls, CleanRoomsMLCreateOperator):
        yield from _of_a_query(cls.resource)
        yield _REUSE, _action(cls.resource.list, cls.resource.service)
        yield from _reading(cls.resource, _REUSE)
    if "tags" in cls.arguments and cls.operation != "tag_resource":
        yield "with `tags`", _action("tag_resource", cls.service)


def _reading(resource: Resource, case: str) -> Iterator[tuple[str, str]]:
    """How a resource is looked at."""
    yield case, _action(resource.get or resource.list, resource.service)
    if resource.versions:
        yield "where the model has several versions", _action(resource.versions, resource.service)


def _of_a_query(resource: Resource) -> Iterator[tuple[str, str]]:
    """What tells why the query behind a resource has failed; it goes without."""
    if "protectedQueryIdentifier" in resource.reports and "membership_identifier" in resource.identifiers:
        yield "to say why its query failed", _action("get_protected_query", CLEAN_ROOMS)


def _called(cls: type[Any]) -> Iterator[str]:
    """Operations that the class's own source calls by name."""
    module = _CALLS_IN.get(cls.__name__)
    source = inspect.getsource(__import__(module, fromlist=["_"]) if module else cls)
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("call", "items"):
            yield from (str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant))


def _action(operation: str, service: str = "") -> str:
    """
    The action of an operation.

    :param operation: boto3's method name.
    :param service: boto3's name of the service; without it the one that has the operation.
    """
    has_it = [name for name in _PREFIXES if operation in map(xform_name, load(name).operation_names)]
    service = service or has_it[0]
    return f"{_PREFIXES[service]}:{operation_model(load(service), operation).name}"
