"""
The service model that botocore ships, asked in the operators' spelling: operations and arguments in snake_case.

It is the specification of every request that this package sends: names, types, required members, ranges, patterns, enums.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from copy import copy
from typing import Any

import botocore
from botocore import xform_name
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

from airflow_cleanroomsml._requests.documented_rules import base_version_doubts, broken_rules, doubtful
from airflow_cleanroomsml._requests.model import argument_members, load, operation_names
from airflow_cleanroomsml._requests.redaction import redact, secrets
from airflow_cleanroomsml._requests.validation import ABSENT, RequestCheck, Violation, nearest
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML, Resource

__all__ = [
    "TESTED_BOTOCORE",
    "Request",
    "argument_members",
    "argument_shapes",
    "description",
    "load",
    "operation_model",
    "sought",
    "sought_shapes",
]

log = logging.getLogger(__name__)

#: botocore that this release was tested with; an older one may not know every argument.
TESTED_BOTOCORE = "1.44.5"
#: How the names of operations begin that make or start something; all others of both services change what there is, or only look
#: (their models, botocore 1.44.5).
_BEGINNING = ("create_", "start_", "populate_")
_UNKNOWN = f"botocore {botocore.__version__} knows no such argument"
# Violations that a message shows.
_SHOWN = 50


def operation_model(model: ServiceModel, operation: str) -> OperationModel:
    """
    The model of one operation.

    :param operation: boto3's method name, for instance ``create_audience_model``.
    :raises InvalidRequestError: The installed botocore knows no such operation.
    """
    names = operation_names(model)
    if operation not in names:
        # Imported here, because exceptions import Airflow, and the emulator shares this package without it.
        from airflow_cleanroomsml.exceptions import InvalidRequestError

        hint = nearest(operation, names) or _elsewhere(model.service_name, operation)
        raise InvalidRequestError(
            f"{operation}: botocore {botocore.__version__} knows no such operation of {model.service_name}{hint}; "
            f"this release was tested with botocore {TESTED_BOTOCORE}"
        )
    return model.operation_model(names[operation])


def _elsewhere(service: str, operation: str) -> str:
    """A word about the sister service, where it has the operation."""
    other = CLEAN_ROOMS if service == CLEAN_ROOMS_ML else CLEAN_ROOMS_ML
    known = operation in operation_names(load(other))
    return f', but {other} has it: service="{other}"' if known else ""


def argument_shapes(service: str, operation: str) -> dict[str, Shape]:
    """
    The shapes of an operation's arguments, by their names in snake_case.

    :param service: boto3's name of the service.
    :param operation: boto3's method name.
    """
    shape = operation_model(load(service), operation).input_shape
    return {xform_name(name): member for name, member in shape.members.items()} if shape is not None else {}


def sought(
    service: str,
    operations: Iterable[str],
    given: Mapping[str, Any],
    *,
    required: Collection[str] = (),
    spelling: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """
    What something is looked for by, in the types of the model; the identifier "NULL" of a base version stays what it is.

    :param operations: boto3's method names: the arguments, and entries, of these reads and listings have the shapes, the first's first.
    :param given: The arguments, in snake_case; None is left out.
    :param required: Arguments that are not left out.
    :param spelling: What the arguments are called there, in snake_case, where it is something else.
    :raises InvalidRequestError: The model does not allow it, so it would never be found.
    """
    shapes, check, found = sought_shapes(service, operations), RequestCheck(), {}
    for name, value in given.items():
        shape, item = shapes.get((spelling or {}).get(name, name)), ABSENT
        if shape is None:
            check.unknown(value, name, _UNKNOWN, f"allowed: {', '.join(shapes)}")
        else:
            item = check.member(shape, value, name, required=name in required)
        if name in check.base_versions or item is not ABSENT:
            found[name] = value if item is ABSENT else item
    for path in check.left_out:
        log.warning('%s rendered to "None" and is left out.', path)
    if check.violations:
        from airflow_cleanroomsml.exceptions import InvalidRequestError, lines

        violations = [str(violation) for violation in check.violations]
        raise InvalidRequestError(lines("The search is not valid:", *violations), violations)
    return found


def sought_shapes(service: str, operations: Iterable[str]) -> dict[str, Shape]:
    """
    The shapes of what something may be looked for by, by names in snake_case.

    :param operations: boto3's method names; of one name the first one's shape.
    """
    shapes: dict[str, Shape] = {}
    for operation in operations:
        shapes = {**_entry_shapes(service, operation), **argument_shapes(service, operation), **shapes}
    return shapes


def _entry_shapes(service: str, operation: str) -> dict[str, Shape]:
    """The shapes of what a listing says of each entry, by names in snake_case; nothing where the operation lists nothing."""
    answer: Any = operation_model(load(service), operation).output_shape
    entries = [shape.member for shape in answer.members.values() if shape.type_name == "list"] if answer else []
    structures = [entry for entry in entries if entry.type_name == "structure"]
    return {xform_name(name): member for entry in structures for name, member in entry.members.items()}


def description(resource: Resource) -> Any:
    """The shape in which the service describes a resource: the answer of its read, or an entry of its listing."""
    model = load(resource.service)
    answer: Any = operation_model(model, resource.get or resource.list).output_shape
    if resource.get:
        return answer.members[resource.within] if resource.within else answer
    return next(shape.member for shape in answer.members.values() if shape.type_name == "list")


class Request:
    """
    A request in the API's own spelling and types, checked against the model.

    :param model: Service model.
    :param operation: boto3's method name.
    :param arguments: Arguments in snake_case; rendered templates are turned into what the model asks for, None is left out.
    """

    def __init__(self, model: ServiceModel, operation: str, arguments: Mapping[str, Any]) -> None:
        self.method = operation
        self.operation = operation_model(model, operation)
        self.left_out: list[str] = []
        #: When the service answered it, by the service's own clock, in seconds since 1970; None where it did not say.
        self.answered: float | None = None
        self._base_versions: list[str] = []
        self.members, self.violations = self._checked(arguments)
        self.warnings = [] if self.violations else self._doubts()

    def _checked(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[Violation]]:
        check = RequestCheck()
        shape = self.operation.input_shape or StructureShape("Empty", {"type": "structure", "members": {}})
        spelling = argument_members(self.operation)
        members = check.structure(shape, arguments, "", spelling=spelling, unknown=_UNKNOWN)
        self.left_out, self._base_versions = check.left_out, check.base_versions
        return members, [*check.violations, *broken_rules(members)]

    def _doubts(self) -> list[str]:
        name = self.operation.name
        return [*doubtful(name, self.members), *base_version_doubts(name, self._base_versions)]

    def refuse_if_broken(self) -> None:
        """
        Raise when the request breaks the model.

        :raises InvalidRequestError: With every violation; its message shows the first fifty.
        """
        if not self.violations:
            return
        from airflow_cleanroomsml.exceptions import InvalidRequestError, lines

        found = [str(violation) for violation in self.violations]
        more = f"… and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        raise InvalidRequestError(
            lines(f"{self.operation.name} was not sent, its request is not valid:", *found[:_SHOWN], more), found
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """The request in snake_case, its values checked and typed."""
        return {xform_name(name): value for name, value in self.members.items()}

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of the arguments that there are."""
        return argument_shapes(self.operation.service_model.service_name, self.method)

    def changed(self, arguments: Mapping[str, Any]) -> Request:
        """The same request with other values for some arguments, which are taken as they are."""
        spelling = argument_members(self.operation)
        other = copy(self)
        other.members = {**self.members, **{spelling[name]: value for name, value in arguments.items()}}
        return other

    @property
    def once(self) -> bool:
        """
        Whether it must not be carried out twice.

        Creates and starts have no idempotency token, nor has what populates a table, each time with a job that is paid for; a put that
        holds only for the state it found would refuse what it did itself.
        """
        conditional = self.members.get("previousPolicyHash") or self.members.get("policyExistenceCondition")
        return self.method.startswith(_BEGINNING) or bool(conditional)

    def redact(self, text: str) -> str:
        """Remove what is sensitive in this request from a text of the service or of botocore."""
        return redact(text, secrets(self.operation.input_shape, self.members))
