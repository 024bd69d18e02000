"""
The service model that botocore ships, asked in the operators' spelling: operations and arguments in snake_case.

It is the specification of every request that this package sends: names, types, required members, ranges, patterns, enums.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

from airflow_cleanroomsml.documented_rules import broken_rules, doubtful
from airflow_cleanroomsml.exceptions import InvalidRequestError, lines
from airflow_cleanroomsml.request_check import RequestCheck, Violation, nearest
from airflow_cleanroomsml.resources import Resource

#: botocore that this release was tested with; an older one may not know every argument.
TESTED_BOTOCORE = "1.44.5"


@cache
def load(service: str = "cleanroomsml") -> ServiceModel:
    """
    The model of a service, from the installed botocore.

    :param service: boto3's name of the service, ``cleanroomsml`` or ``cleanrooms``.
    """
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def operation_model(model: ServiceModel, operation: str) -> OperationModel:
    """
    The model of one operation.

    :param operation: boto3's method name, for instance ``create_audience_model``.
    :raises InvalidRequestError: The installed botocore knows no such operation.
    """
    names = {xform_name(name): name for name in model.operation_names}
    if operation not in names:
        hint = nearest(operation, names)
        raise InvalidRequestError(
            f"{operation}: botocore {botocore.__version__} knows no such operation of {model.service_name}{hint}; "
            f"this release was tested with botocore {TESTED_BOTOCORE}"
        )
    return model.operation_model(names[operation])


def argument_members(operation: OperationModel) -> dict[str, str]:
    """The arguments of an operation: snake_case to the API's own spelling, in the model's order."""
    shape = operation.input_shape
    return {xform_name(name): name for name in shape.members} if shape is not None else {}


def argument_shapes(service: str, operation: str) -> dict[str, Shape]:
    """
    The shapes of an operation's arguments, by their names in snake_case.

    :param service: boto3's name of the service.
    :param operation: boto3's method name.
    """
    shape = operation_model(load(service), operation).input_shape
    return {xform_name(name): member for name, member in shape.members.items()} if shape is not None else {}


def typed(operation: str, argument: str, value: Any) -> Any:
    """
    One argument of an operation of ``cleanroomsml``, in the type that the model asks for.

    :raises InvalidRequestError: The model does not allow it.
    """
    check = RequestCheck()
    found = check.value(argument_shapes("cleanroomsml", operation)[argument], value, argument)
    if check.violations:
        raise InvalidRequestError(lines("This cannot be looked for:", *map(str, check.violations)))
    return found


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
        self.members, self.violations = self._checked(arguments)
        self.warnings = [] if self.violations else doubtful(self.operation.name, self.members)

    def _checked(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[Violation]]:
        check = RequestCheck()
        shape = self.operation.input_shape or StructureShape("Empty", {"type": "structure", "members": {}})
        spelling = argument_members(self.operation)
        members = check.structure(
            shape, arguments, "", spelling=spelling, unknown=f"botocore {botocore.__version__} knows no such argument"
        )
        self.left_out = check.left_out
        return members, [*check.violations, *broken_rules(members)]

    def refuse_if_broken(self) -> None:
        """
        Raise when the request breaks the model.

        :raises InvalidRequestError: With every violation.
        """
        if not self.violations:
            return
        found = [str(violation) for violation in self.violations]
        raise InvalidRequestError(
            lines(f"{self.operation.name} was not sent, its request is not valid:", *found), found
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """The request in snake_case, its values checked and typed."""
        return {xform_name(name): value for name, value in self.members.items()}

    @property
    def once(self) -> bool:
        """
        Whether it must not be carried out twice.

        Creates and starts have no idempotency token; a put that holds only for the state it found would refuse what it did itself.
        """
        conditional = self.members.get("previousPolicyHash") or self.members.get("policyExistenceCondition")
        return self.method.startswith(("create_", "start_")) or bool(conditional)

    def redact(self, text: str) -> str:
        """Withhold a text that quotes a sensitive value of this request, even in part: engines quote the SQL they were given."""
        plain = " ".join(text.split())
        for key, secret in _sensitive_texts(self.operation.input_shape, self.members):
            if key == "queryString" and _quotes(plain, " ".join(secret.split())):
                return "*** (a text that quotes the query of the request)"
            if key not in ("queryString", "analysisTemplateArn"):
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
        return text


def _sensitive_texts(shape: Any, value: Any, key: str = "", *, inside: bool = False) -> Iterator[tuple[str, str]]:
    """All texts below the members that the model marks as sensitive, each with its key; one or two characters are too common."""
    inside = inside or bool(shape is not None and shape.metadata.get("sensitive"))
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _sensitive_texts(_below(shape, name), item, name, inside=inside)
    elif isinstance(value, list):
        for item in value:
            yield from _sensitive_texts(_below(shape, None), item, key, inside=inside)
    elif inside and isinstance(value, str) and len(value) > 2:
        yield key, value


def _quotes(text: str, secret: str) -> bool:
    """Whether a text has sixteen characters in a row of a secret, or all of a shorter one."""
    size = min(16, len(secret))
    return any(secret[begin : begin + size] in text for begin in range(len(secret) - size + 1))


def _below(shape: Any, key: str | None) -> Any:
    """The shape of what stands under a key of a structure or map, or in a list."""
    kind = shape.type_name if shape is not None else ""
    if kind == "structure":
        return shape.members.get(key)
    if kind == "list":
        return shape.member
    return shape.value if kind == "map" else None
