"""
The IAM actions that a task needs, by what makes it need them.

What a request needs is in :mod:`airflow_cleanroomsml._requests.permissions`; which requests a task makes follows from its class and from
the row of its resource. ``tests/emulator/test_least_privilege.py`` runs every task with these permissions and without each of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from botocore import xform_name
from botocore.model import OperationModel

from airflow_cleanroomsml._requests.permissions import PASS_ROLE, PASSED_TO, REMOVE_STATEMENT, required_permissions
from airflow_cleanroomsml._requests.request import load, operation_model
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML, Resource
from airflow_cleanroomsml._waiting.job_search import LISTING
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator
from airflow_cleanroomsml.operators._on_kill import CleanRoomsMLEndingOperator
from airflow_cleanroomsml.operators._wait import CleanRoomsMLWaitingOperator
from airflow_cleanroomsml.sensors._base import CleanRoomsMLMemberSensor, CleanRoomsMLSensor


class Case(NamedTuple):
    """
    What makes a task need permissions.

    :param when: In words.
    :param by_default: Whether it can happen to a task whose optional arguments are left out.
    """

    when: str
    by_default: bool = False


ALWAYS = Case("always", by_default=True)
TAG = Case("with `durable=True`, the default, or with `tags`", by_default=True)
WAIT = Case("to wait, in the worker or deferred", by_default=True)
WAIT_FOR_DELETION = Case("to wait, in the worker or deferred, and after a conflict", by_default=True)
VERSIONS = Case("if the model has several versions", by_default=True)
RETRY = Case("on a retry, or after a lost response, with `durable=True`, the default", by_default=True)
CANCEL = Case("when the task is killed or times out, with `cancel_on_kill=True`, the default", by_default=True)
DELETE = Case("when the task is killed or times out, with `delete_on_kill=True`")
REUSE = Case('with `if_exists="reuse"`')
UPDATE = Case('with `if_exists="update"`')
OWN = Case("with `membership_identifier`", by_default=True)
PARTNERS = Case("with `collaboration_identifier`", by_default=True)
BASE_VERSION = Case('with `version_identifier="NULL"`, if the model has several versions')
FOREIGN_MODEL = Case("instead of `cleanrooms-ml:GetTrainedModel`, if another member owns the model")
MANAGED_POLICY = Case("if Clean Rooms manages the policy of the model", by_default=True)
COMPARES = Case("without `instead_of`", by_default=True)
DELETES = Case("without `report_only=True`, if a model goes", by_default=True)
JOB = Case("with `audience_generation_job_arn`", by_default=True)
NAME_IN_USE = Case("optional: to report who has a name that is in use")
FAILED_QUERY = Case("optional: to report why its query failed")

#: Requests that a class makes in methods of its own.
_REQUESTS: dict[str, list[tuple[Case, str, str]]] = {
    "CleanRoomsMLStartTrainedModelExportJobOperator": [
        (ALWAYS, CLEAN_ROOMS_ML, "get_trained_model"),
        (FOREIGN_MODEL, CLEAN_ROOMS, "get_membership"),
    ],
    "CleanRoomsFindMembershipOperator": [(ALWAYS, CLEAN_ROOMS, "list_memberships")],
    "CleanRoomsFindConfiguredAudienceModelOperator": [
        (ALWAYS, CLEAN_ROOMS, "list_collaboration_configured_audience_model_associations"),
        (ALWAYS, CLEAN_ROOMS, "get_collaboration_configured_audience_model_association"),
    ],
    "CleanRoomsMLCheckAudienceModelAgeOperator": [
        (ALWAYS, CLEAN_ROOMS_ML, "get_configured_audience_model"),
        (ALWAYS, CLEAN_ROOMS_ML, "get_audience_model"),
    ],
    "CleanRoomsMLPromoteAudienceModelOperator": [
        (ALWAYS, CLEAN_ROOMS_ML, "get_configured_audience_model"),
        (ALWAYS, CLEAN_ROOMS_ML, "update_configured_audience_model"),
        (COMPARES, CLEAN_ROOMS_ML, "get_audience_model"),
    ],
    "CleanRoomsMLPruneAudienceModelsOperator": [
        (ALWAYS, CLEAN_ROOMS_ML, "list_audience_models"),
        (ALWAYS, CLEAN_ROOMS_ML, "list_configured_audience_models"),
        (ALWAYS, CLEAN_ROOMS_ML, "get_audience_model"),
        (DELETES, CLEAN_ROOMS_ML, "delete_audience_model"),
    ],
    "CleanRoomsMLChooseAudienceSizeOperator": [(JOB, CLEAN_ROOMS_ML, "get_audience_generation_job")],
    "CleanRoomsMLNewAudienceGenerationJobsSensor": [(ALWAYS, CLEAN_ROOMS_ML, LISTING)],
}


def with_argument(argument: str) -> Case:
    """The case that an argument is given."""
    return Case(f"with `{argument}`")


def permissions(cls: type[Any]) -> dict[Case, list[str]]:
    """
    The actions of each case; those that are always needed are in no other.

    :param cls: Operator or sensor.
    """
    found: dict[Case, list[str]] = {}
    for case, action in _all(cls):
        if action not in found.get(ALWAYS, ()) and action not in found.setdefault(case, []):
            found[case].append(action)
    return {case: actions for case, actions in found.items() if actions}


def policy(classes: Iterable[type[Any]]) -> str:
    """A policy, as JSON, for tasks of these classes whose optional arguments are left out."""
    cases = [(case, actions) for cls in classes for case, actions in permissions(cls).items()]
    needed = {action for case, actions in cases if case.by_default for action in actions}
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": sorted(needed - {PASS_ROLE}), "Resource": "*"},
    ]
    if PASS_ROLE in needed:
        statements.append(
            {
                "Effect": "Allow",
                "Action": PASS_ROLE,
                "Resource": "arn:aws:iam::*:role/cleanrooms-ml*",
                "Condition": {"StringEquals": {"iam:PassedToService": PASSED_TO}},
            }
        )
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def _all(cls: type[Any]) -> Iterator[tuple[Case, str]]:
    if issubclass(cls, CleanRoomsMLOperator):
        yield from _of_the_operation(cls)
    yield from ((case, action) for case, *request in _REQUESTS.get(cls.__name__, ()) for action in _actions(*request))
    for base, find in _BY_BASE:
        if issubclass(cls, base):
            yield from find(cls)


def _of_the_operation(cls: type[CleanRoomsMLOperator]) -> Iterator[tuple[Case, str]]:
    """What the request itself needs, and what its optional members add."""
    operation = operation_model(load(cls.service), cls.operation)
    members = operation.input_shape.members if operation.input_shape else {}
    always = _actions(cls.service, cls.operation)
    yield from ((ALWAYS, action) for action in always)
    for name, shape in members.items():
        more = [action for action in _actions(cls.service, cls.operation, name) if action not in always]
        argument = xform_name(name) + ("=True" if shape.type_name == "boolean" else "")
        tags_itself = issubclass(cls, CleanRoomsMLCreateOperator) and cls.resource.tells_tags
        case = TAG if name == "tags" and tags_itself else with_argument(argument)
        yield from ((case, action) for action in more)
    if operation.name == "DeleteConfiguredAudienceModelAssociation":
        yield from ((MANAGED_POLICY, action) for action in REMOVE_STATEMENT)


def _of_a_create(cls: type[CleanRoomsMLCreateOperator]) -> Iterator[tuple[Case, str]]:
    resource = cls.resource
    look = [*_actions(resource.service, resource.list), *_reading(resource)]
    yield from ((RETRY, action) for action in look)
    yield from ((REUSE, action) for action in look)
    if "update" in cls.choices:
        update = _actions(resource.service, cls.operation.replace("create_", "update_"))
        tag = _actions(resource.service, "tag_resource")
        yield from ((UPDATE, action) for action in (*look, *update, *tag))


def _of_a_message(cls: type[CleanRoomsMLCreateOperator]) -> Iterator[tuple[Case, str]]:
    """What is read for an error message alone, which goes without it."""
    resource = cls.resource
    owner = _reading(resource) if resource.tells_tags else []
    yield from ((NAME_IN_USE, action) for action in (*_actions(resource.service, resource.list), *owner))
    if "protectedQueryIdentifier" in resource.reports and "membership_identifier" in resource.identifiers:
        yield from ((FAILED_QUERY, action) for action in _actions(CLEAN_ROOMS, "get_protected_query"))


def _of_a_wait(cls: type[CleanRoomsMLWaitingOperator]) -> Iterator[tuple[Case, str]]:
    case = WAIT_FOR_DELETION if issubclass(cls, CleanRoomsMLDeleteOperator) else WAIT
    yield from ((case, action) for action in _reading(cls.resource))
    if cls.resource.versions:
        yield from ((VERSIONS, action) for action in _actions(cls.resource.service, cls.resource.versions))


def _of_a_kill(cls: type[CleanRoomsMLEndingOperator]) -> Iterator[tuple[Case, str]]:
    resource = cls.resource
    for case, operation in ((CANCEL, resource.cancel), (DELETE, resource.delete)):
        if operation:
            yield from ((case, action) for action in (*_actions(resource.service, operation), *_reading(resource)))


def _of_a_sensor(cls: type[CleanRoomsMLSensor]) -> Iterator[tuple[Case, str]]:
    rows = [(ALWAYS, cls.resource)]
    if issubclass(cls, CleanRoomsMLMemberSensor):
        rows = [(OWN, cls.resource), (PARTNERS, cls.partners)]
    for case, resource in rows:
        yield from ((case, action) for action in _reading(resource))
        if resource.versions:
            yield from ((BASE_VERSION, action) for action in _actions(resource.service, resource.versions))


#: What each base adds, in the order of the page.
_BY_BASE: tuple[tuple[type[Any], Any], ...] = (
    (CleanRoomsMLWaitingOperator, _of_a_wait),
    (CleanRoomsMLCreateOperator, _of_a_create),
    (CleanRoomsMLEndingOperator, _of_a_kill),
    (CleanRoomsMLCreateOperator, _of_a_message),
    (CleanRoomsMLSensor, _of_a_sensor),
)


def _reading(resource: Resource) -> list[str]:
    """What it takes to read a resource."""
    return _actions(resource.service, resource.get or resource.list)


def _actions(service: str, operation: str, *more: str) -> list[str]:
    """
    What a request with the required members needs.

    :param operation: boto3's method name.
    :param more: Members that it has besides, in the API's own spelling; one that is true or false is true.
    """
    model = operation_model(load(service), operation)
    return [permission.action for permission in required_permissions(model, _request(model, more))]


def _request(operation: OperationModel, more: Iterable[str]) -> dict[str, Any]:
    shape = operation.input_shape
    if shape is None:
        return {}
    required = [name for name in shape.required_members if shape.members[name].type_name != "boolean"]
    return {name: _value(shape.members[name]) for name in (*required, *more)}


def _value(shape: Any) -> Any:
    """A value with the required members of its shape; what a text or a number is does not matter."""
    if shape.type_name == "structure":
        return {name: _value(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [_value(shape.member)]
    return {"key": _value(shape.value)} if shape.type_name == "map" else "value"
