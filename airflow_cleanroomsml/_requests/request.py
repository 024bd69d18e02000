"""
Builds requests from operators' arguments, by the service model that botocore ships.

The model is the specification of every request: names, types, required members, ranges, patterns and enums. Operations and arguments are in
snake_case, as in boto3.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from copy import copy
from typing import Any

import botocore
from botocore import xform_name
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

from airflow_cleanroomsml._requests.documented_rules import find_base_version_warnings, find_broken_rules, find_warnings
from airflow_cleanroomsml._requests.model import load, map_arguments, map_operations
from airflow_cleanroomsml._requests.redaction import find_secrets, redact
from airflow_cleanroomsml._requests.validation import ABSENT, RequestCheck
from airflow_cleanroomsml._requests.violations import Violation, raise_for_violations, suggest_name
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML, Resource

__all__ = [
    "TESTED_BOTOCORE",
    "Request",
    "convert_search",
    "find_argument_shapes",
    "find_description_shape",
    "find_operation",
    "find_search_shapes",
    "load",
    "map_arguments",
]

log = logging.getLogger(__name__)

#: Version of botocore that this release was tested with; older ones may lack arguments.
TESTED_BOTOCORE = "1.44.5"
#: Prefixes of operations that create or start something (both service models, botocore 1.44.5).
_CREATING = ("create_", "start_", "populate_")
_UNKNOWN = f"botocore {botocore.__version__} has no such argument"


def find_operation(model: ServiceModel, operation: str) -> OperationModel:
    """
    Return the model of an operation.

    :param operation: boto3's method name, for instance ``create_audience_model``.
    :raises InvalidRequestError: The installed botocore has no such operation.
    """
    names = map_operations(model)
    if operation not in names:
        # Imported here, because the exceptions import Airflow, without which the emulator uses this module.
        from airflow_cleanroomsml.exceptions import InvalidRequestError

        hint = suggest_name(operation, names) or _suggest_service(model.service_name, operation)
        raise InvalidRequestError(
            f"{operation}: {model.service_name} has no such operation in botocore {botocore.__version__}{hint}; "
            f"this version of the provider was tested with botocore {TESTED_BOTOCORE}"
        )
    return model.operation_model(names[operation])


def _suggest_service(service: str, operation: str) -> str:
    """Return a hint if the other service has an operation; else an empty text."""
    other = CLEAN_ROOMS if service == CLEAN_ROOMS_ML else CLEAN_ROOMS_ML
    exists = operation in map_operations(load(other))
    return f' (but {other} has it: set service="{other}")' if exists else ""


def find_argument_shapes(service: str, operation: str) -> dict[str, Shape]:
    """
    Return the shapes of an operation's arguments by their names in snake_case.

    :param service: boto3's name of the service.
    :param operation: boto3's method name.
    """
    shape = find_operation(load(service), operation).input_shape
    return {xform_name(name): member for name, member in shape.members.items()} if shape is not None else {}


def convert_search(
    service: str,
    operations: Iterable[str],
    criteria: Mapping[str, Any],
    *,
    required: Collection[str] = (),
    spelling: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """
    Convert the values by which a resource is searched for to the types of the model; the base version "NULL" is kept.

    :param operations: boto3's method names of reads and listings, see :func:`find_search_shapes`.
    :param criteria: Values by name in snake_case; those that are None are omitted.
    :param required: Names of values that must not be omitted.
    :param spelling: The operations' names of values, in snake_case, if they differ.
    :raises InvalidRequestError: The model does not allow a value, so the search cannot find anything.
    """
    shapes, check, converted = find_search_shapes(service, operations), RequestCheck(), {}
    for name, value in criteria.items():
        shape, item = shapes.get((spelling or {}).get(name, name)), ABSENT
        if shape is None:
            check.reject_unknown(value, name, _UNKNOWN, f"allowed: {', '.join(shapes)}")
        else:
            item = check.check_member(shape, value, name, required=name in required)
        # Our own lookups name the first version "NULL", although no request may contain that.
        if name in check.base_versions or item is not ABSENT:
            converted[name] = value if item is ABSENT else item
    for path in check.left_out:
        log.warning('%s rendered to "None"; omitting it.', path)
    raise_for_violations("Nothing was sent, because the arguments are not valid:", check.violations)
    return converted


def find_search_shapes(service: str, operations: Iterable[str]) -> dict[str, Shape]:
    """
    Return the shapes of the values by which a resource can be searched for, by their names in snake_case.

    :param operations: boto3's method names of reads and listings: their arguments, and the members of their entries. If several have the
        same name, the first one's shape counts.
    """
    shapes: dict[str, Shape] = {}
    for operation in operations:
        shapes = {**_find_entry_shapes(service, operation), **find_argument_shapes(service, operation), **shapes}
    return shapes


def _find_entry_shapes(service: str, operation: str) -> dict[str, Shape]:
    """Return the shapes of the members of a listing's entries by their names in snake_case; empty for other operations."""
    output: Any = find_operation(load(service), operation).output_shape
    entries = [shape.member for shape in output.members.values() if shape.type_name == "list"] if output else []
    structures = [entry for entry in entries if entry.type_name == "structure"]
    return {xform_name(name): member for entry in structures for name, member in entry.members.items()}


def find_description_shape(resource: Resource) -> Any:
    """Return the shape of a resource's description: the response of its Get operation, or else an entry of its listing."""
    model = load(resource.service)
    output: Any = find_operation(model, resource.get or resource.list).output_shape
    if resource.get:
        return output.members[resource.within] if resource.within else output
    return next(shape.member for shape in output.members.values() if shape.type_name == "list")


class Request:
    """
    A request in the API's own spelling and types, checked against the model.

    :param model: Service model.
    :param operation: boto3's method name.
    :param arguments: Arguments in snake_case; rendered templates are converted to the types of the model, and None is omitted.
    """

    def __init__(self, model: ServiceModel, operation: str, arguments: Mapping[str, Any]) -> None:
        self.method = operation
        self.operation = find_operation(model, operation)
        self.left_out: list[str] = []
        #: Time of the response by the service's own clock, in seconds since 1970; None if it is not known.
        self.answered_at: float | None = None
        self._base_versions: list[str] = []
        self.members, self.violations = self._check(arguments)
        self.warnings = [] if self.violations else self._find_warnings()

    def _check(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[Violation]]:
        check = RequestCheck()
        shape = self.operation.input_shape or StructureShape("Empty", {"type": "structure", "members": {}})
        spelling = map_arguments(self.operation)
        members = check.check_structure(shape, arguments, "", spelling=spelling, unknown=_UNKNOWN)
        self.left_out, self._base_versions = check.left_out, check.base_versions
        return members, [*check.violations, *find_broken_rules(members)]

    def _find_warnings(self) -> list[str]:
        name = self.operation.name
        return [*find_warnings(name, self.members), *find_base_version_warnings(name, self._base_versions)]

    def raise_for_violations(self) -> None:
        """
        Raise an error if the request violates the model.

        :raises InvalidRequestError: With all violations; its message shows the first fifty.
        """
        raise_for_violations(f"{self.operation.name} was not sent, because its request is not valid:", self.violations)

    @property
    def arguments(self) -> dict[str, Any]:
        """The converted arguments, in snake_case."""
        return {xform_name(name): value for name, value in self.members.items()}

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of the operation's arguments, in snake_case."""
        return find_argument_shapes(self.operation.service_model.service_name, self.method)

    def replace(self, arguments: Mapping[str, Any]) -> Request:
        """Return the request with other values for some arguments, which are not checked."""
        # Callers pass only our own tag, retry names that are built to be valid, and names that the service returned.
        spelling = map_arguments(self.operation)
        other = copy(self)
        other.members = {**self.members, **{spelling[name]: value for name, value in arguments.items()}}
        return other

    @property
    def is_sent_once(self) -> bool:
        """
        Whether it must not be carried out twice.

        Creates and starts have no idempotency token, nor do operations that populate a table with a job that is billed. A put with a
        condition on the previous policy would fail the second time, because the first one has changed the policy.
        """
        conditional = self.members.get("previousPolicyHash") or self.members.get("policyExistenceCondition")
        return self.method.startswith(_CREATING) or bool(conditional)

    def redact(self, text: str) -> str:
        """Remove the confidential values of this request from a text of the service or of botocore."""
        return redact(text, find_secrets(self.operation.input_shape, self.members))
