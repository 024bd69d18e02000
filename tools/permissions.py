"""
Determines the IAM actions that a task needs, and in which cases.

:mod:`airflow_cleanroomsml._requests.permissions` has the actions of a request. Which requests a task sends follows from its class and its
resource. ``tests/emulator/test_least_privilege.py`` runs every task with these permissions, and without each of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from botocore import xform_name
from botocore.model import OperationModel

from airflow_cleanroomsml._requests.permissions import PASS_ROLE, PASSED_TO, REMOVE_STATEMENT, list_permissions
from airflow_cleanroomsml._requests.request import find_operation, load
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML, Resource
from airflow_cleanroomsml._waiting.job_search import LISTING
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteAndWaitOperator, CleanRoomsMLDeleteOperator
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLMemberSensor, CleanRoomsMLSensor


class Case(NamedTuple):
    """
    A case in which a task needs permissions.

    :param when: Description.
    :param by_default: Whether it can occur if optional arguments are left out.
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
BASE_VERSION = Case('with `membership_identifier` and `version_identifier="NULL"`, if the model has several versions')
FOREIGN_MODEL = Case("instead of `cleanrooms-ml:GetTrainedModel`, if another member owns the model")
MANAGED_POLICY = Case("if Clean Rooms manages the policy of the model", by_default=True)
COMPARES = Case("without `instead_of`", by_default=True)
DELETES = Case("without `report_only=True`, if a model is deleted", by_default=True)
DATASET = Case("with `training_dataset_arn`", by_default=True)
FILES = Case('with `statistics="files"`')
ATHENA = Case('with `statistics="athena"`')
PARTITIONED = Case("if the table has partitions", by_default=True)
SEED_IN_S3 = Case("of a seed in S3", by_default=True)
JOB = Case("with `audience_generation_job_arn`", by_default=True)
NAME_IN_USE = Case("optional: to report which resource has a name that is in use")
FAILED_QUERY = Case("optional: to report why its query failed")

#: Requests that a class sends in methods of its own.
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
    "CleanRoomsMLCheckTrainingDataOperator": [(DATASET, CLEAN_ROOMS_ML, "get_training_dataset")],
    "CleanRoomsMLChooseAudienceSizeOperator": [(JOB, CLEAN_ROOMS_ML, "get_audience_generation_job")],
    "CleanRoomsMLNewAudienceGenerationJobsSensor": [(ALWAYS, CLEAN_ROOMS_ML, LISTING)],
}

#: Actions of other services that a class needs (service authorization references of these services). The emulator does not evaluate them.
_OTHER_SERVICES: dict[str, list[tuple[Case, str]]] = {
    "CleanRoomsMLCheckTrainingDataOperator": [
        *((ALWAYS, f"glue:{name}") for name in ("GetDatabase", "GetTable")),
        *((ALWAYS, action) for action in ("s3:ListBucket", "iam:GetRole", "iam:SimulatePrincipalPolicy")),
        (PARTITIONED, "glue:GetPartitions"),
        (FILES, "s3:GetObject"),
        *((ATHENA, f"athena:{name}") for name in ("StartQueryExecution", "GetQueryExecution", "GetQueryResults")),
        *((ATHENA, action) for action in ("athena:StopQueryExecution", "s3:GetBucketLocation")),
        *((ATHENA, action) for action in ("s3:GetObject", "s3:PutObject")),
    ],
    "CleanRoomsMLCheckSeedAudienceOperator": [
        (ALWAYS, "iam:GetRole"),
        *((SEED_IN_S3, action) for action in ("iam:SimulatePrincipalPolicy", "s3:ListBucket", "s3:GetObject")),
    ],
}
#: Services whose actions are in :data:`_OTHER_SERVICES`.
OTHER_SERVICES = ("athena", "glue", "iam", "s3")


def argument_case(argument: str) -> Case:
    """Return the case of an argument that is set."""
    return Case(f"with `{argument}`")


def group_permissions(cls: type[Any]) -> dict[Case, list[str]]:
    """
    Return the actions of each case; those that are always needed are in no other case.

    :param cls: Operator or sensor.
    """
    groups: dict[Case, list[str]] = {}
    for case, action in _iterate_permissions(cls):
        if action not in groups.get(ALWAYS, ()) and action not in groups.setdefault(case, []):
            groups[case].append(action)
    return {case: actions for case, actions in groups.items() if actions}


def build_policy(classes: Iterable[type[Any]]) -> str:
    """Build a policy, as JSON, for tasks of these classes without optional arguments."""
    cases = [(case, actions) for cls in classes for case, actions in group_permissions(cls).items()]
    needed = {action for case, actions in cases if case.by_default for action in actions}
    # iam:PassRole has a statement of its own, because its condition key does not apply to other actions.
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


def _iterate_permissions(cls: type[Any]) -> Iterator[tuple[Case, str]]:
    if issubclass(cls, CleanRoomsMLOperator) and cls.operation:
        yield from _find_operation_permissions(cls)
    yield from (
        (case, action) for case, *request in _REQUESTS.get(cls.__name__, ()) for action in _list_actions(*request)
    )
    yield from _OTHER_SERVICES.get(cls.__name__, ())
    for base, find in _BY_BASE:
        if issubclass(cls, base):
            yield from find(cls)


def _find_operation_permissions(cls: type[CleanRoomsMLOperator]) -> Iterator[tuple[Case, str]]:
    """Yield the actions of the request itself, and those that its optional members add."""
    operation = find_operation(load(cls.service), cls.operation)
    members = operation.input_shape.members if operation.input_shape else {}
    always = _list_actions(cls.service, cls.operation)
    yield from ((ALWAYS, action) for action in always)
    for name, shape in members.items():
        more = [action for action in _list_actions(cls.service, cls.operation, name) if action not in always]
        argument = xform_name(name) + ("=True" if shape.type_name == "boolean" else "")
        # A create tags its resource by default, so that a retry can find it.
        tags_itself = issubclass(cls, CleanRoomsMLCreateOperator) and cls.resource.has_readable_tags
        case = TAG if name == "tags" and tags_itself else argument_case(argument)
        yield from ((case, action) for action in more)
    if operation.name == "DeleteConfiguredAudienceModelAssociation":
        yield from ((MANAGED_POLICY, action) for action in REMOVE_STATEMENT)


def _find_create_permissions(cls: type[CleanRoomsMLCreateOperator]) -> Iterator[tuple[Case, str]]:
    resource = cls.resource
    lookup = [*_list_actions(resource.service, resource.list), *_list_read_actions(resource)]
    yield from ((RETRY, action) for action in lookup)
    yield from ((REUSE, action) for action in lookup)
    if "update" in cls.choices:
        update = _list_actions(resource.service, cls.operation.replace("create_", "update_"))
        tag = _list_actions(resource.service, "tag_resource")
        yield from ((UPDATE, action) for action in (*lookup, *update, *tag))


def _find_message_permissions(cls: type[CleanRoomsMLCreateOperator]) -> Iterator[tuple[Case, str]]:
    """Yield the actions of reads that only add details to an error message."""
    resource = cls.resource
    owner = _list_read_actions(resource) if resource.has_readable_tags else []
    yield from ((NAME_IN_USE, action) for action in (*_list_actions(resource.service, resource.list), *owner))
    if "protectedQueryIdentifier" in resource.outputs and "membership_identifier" in resource.identifiers:
        yield from ((FAILED_QUERY, action) for action in _list_actions(CLEAN_ROOMS, "get_protected_query"))


def _find_wait_permissions(
    cls: type[CleanRoomsMLJobOperator | CleanRoomsMLDeleteAndWaitOperator],
) -> Iterator[tuple[Case, str]]:
    case = WAIT_FOR_DELETION if issubclass(cls, CleanRoomsMLDeleteOperator) else WAIT
    yield from ((case, action) for action in _list_read_actions(cls.resource))
    if cls.resource.versions:
        yield from ((VERSIONS, action) for action in _list_actions(cls.resource.service, cls.resource.versions))


def _find_kill_permissions(cls: type[CleanRoomsMLJobOperator]) -> Iterator[tuple[Case, str]]:
    resource = cls.resource
    for case, operation in ((CANCEL, resource.cancel), (DELETE, resource.delete)):
        if operation:
            yield from (
                (case, action)
                for action in (*_list_actions(resource.service, operation), *_list_read_actions(resource))
            )


def _find_sensor_permissions(cls: type[CleanRoomsMLSensor]) -> Iterator[tuple[Case, str]]:
    rows = [(ALWAYS, cls.resource)]
    if issubclass(cls, CleanRoomsMLMemberSensor):
        rows = [(OWN, cls.resource), (PARTNERS, cls.partners)]
    for case, resource in rows:
        yield from ((case, action) for action in _list_read_actions(resource))
        if resource.versions:
            yield from ((BASE_VERSION, action) for action in _list_actions(resource.service, resource.versions))


#: Functions for the permissions of each base, in the order of the page.
_BY_BASE: tuple[tuple[Any, Any], ...] = (
    ((CleanRoomsMLJobOperator, CleanRoomsMLDeleteAndWaitOperator), _find_wait_permissions),
    (CleanRoomsMLCreateOperator, _find_create_permissions),
    (CleanRoomsMLJobOperator, _find_kill_permissions),
    (CleanRoomsMLCreateOperator, _find_message_permissions),
    (CleanRoomsMLSensor, _find_sensor_permissions),
)


def _list_read_actions(resource: Resource) -> list[str]:
    """Return the actions for reading a resource."""
    return _list_actions(resource.service, resource.get or resource.list)


def _list_actions(service: str, operation: str, *more: str) -> list[str]:
    """
    Return the actions of a request with its required members.

    :param operation: boto3's method name.
    :param more: Further members, in the API's own spelling; booleans among them are true.
    """
    model = find_operation(load(service), operation)
    return [permission.action for permission in list_permissions(model, _build_request(model, more))]


def _build_request(operation: OperationModel, more: Iterable[str]) -> dict[str, Any]:
    shape = operation.input_shape
    if shape is None:
        return {}
    # Booleans are left out, because some actions are only needed for True, such as those of manageResourcePolicies.
    required = [name for name in shape.required_members if shape.members[name].type_name != "boolean"]
    return {name: _build_value(shape.members[name]) for name in (*required, *more)}


def _build_value(shape: Any) -> Any:
    # Permissions do not depend on texts and numbers, so any will do.
    if shape.type_name == "structure":
        return {name: _build_value(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [_build_value(shape.member)]
    return {"key": _build_value(shape.value)} if shape.type_name == "map" else "value"
