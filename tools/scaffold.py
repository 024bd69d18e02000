"""
Prints the scaffold of an operator's module, from the service model: ``nox -s scaffold -- CreateMLInputChannel``.

It has "…" for what the model does not contain: the descriptions of the operator and its arguments.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from textwrap import fill

from botocore import xform_name
from botocore.model import ListShape, OperationModel, Shape, StructureShape

from tools.request_types import NestedTypes, format_templated, iterate_operations, list_words

#: Prefixes of the statuses during an operation, by its verb.
_STATUSES = {"Cancel": "CANCEL_", "Create": "CREATE_", "Delete": "DELETE_", "Start": "CREATE_"}
_GOALS = {"Delete": "DELETED", "Cancel": "CANCELLED"}
_HOMES = {
    "CleanRoomsMLOperator": "_base",
    "CleanRoomsMLCreateOperator": "_create",
    "CleanRoomsMLDeleteAndWaitOperator": "_delete",
    "CleanRoomsMLDeleteOperator": "_delete",
    "CleanRoomsMLJobOperator": "_job",
}
_UNITS = {"string": "character", "list": "item", "map": "entry"}


def _to_words(name: str) -> str:
    """Convert ``MLInputChannel`` to "ML input channel"."""
    # Consecutive capitals are an abbreviation: the last one starts the next word.
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)
    return " ".join(part if part.isupper() else part.lower() for part in parts)


def _format_bounds(shape: Shape) -> str:
    """Format the allowed length, number or value, with its unit."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if not low and high is None:
        return ""
    number = f"at least {low:,}" if high is None else f"{low:,} to {high:,}" if low else f"up to {high:,}"
    if low == high:
        number = f"{high:,}"
    unit = _UNITS.get(shape.type_name, "")
    plural = unit.removesuffix("y") + "ies" if unit.endswith("y") else unit and unit + "s"
    return f"{number} {unit if high == 1 else plural}".rstrip()


def _describe_range(shape: Shape) -> str:
    """Describe the allowed values of a shape."""
    if isinstance(shape, StructureShape):
        return f"``{{{', '.join(shape.members)}}}``"
    if list_words(shape):
        return ", ".join(f"``{word}``" for word in list_words(shape))
    bounds = _format_bounds(shape)
    items = _describe_range(shape.member) if isinstance(shape, ListShape) else ""
    return " of ".join(part for part in (bounds, items) if part) or shape.type_name


def _describe_argument(name: str, shape: Shape) -> str:
    if name.endswith("_arn"):
        return f"ARN of the {name.removesuffix('_arn').replace('_', ' ')}"
    return f"…, {_describe_range(shape)}"


def get_members(shape: Shape | None) -> Mapping[str, Shape]:
    """Return the members of a structure; empty for any other shape."""
    return shape.members if isinstance(shape, StructureShape) else {}


@dataclass(frozen=True)
class Scaffold:
    """
    The scaffold of an operator.

    :param model: Model of the operation.
    """

    model: OperationModel

    @property
    def verb(self) -> str:
        """First word of the operation."""
        return re.sub(r"(?<=[a-z])[A-Z].*", "", self.model.name)

    @cached_property
    def noun(self) -> str:
        """
        Noun of the operation: the longest for which the service has a Get or List.

        For instance, it is ``MLInputChannel`` for ``DeleteMLInputChannelData``, too.
        """
        target = self.model.name.removeprefix(self.verb)
        nouns = {
            re.sub(r"^(Get|List)(Collaboration)?|s$", "", name) for name in self.model.service_model.operation_names
        }
        return max((noun for noun in nouns if noun and target.startswith(noun)), key=len, default=target)

    @cached_property
    def statuses(self) -> list[str]:
        """Statuses of the noun, from its Get or its List."""
        service = self.model.service_model
        reads = {f"Get{self.noun}", f"List{self.noun}s", f"ListCollaboration{self.noun}s"} & set(
            service.operation_names
        )
        outputs = [get_members(service.operation_model(name).output_shape) for name in reads]
        outputs += [
            get_members(shape.member)
            for members in outputs
            for shape in members.values()
            if isinstance(shape, ListShape)
        ]
        return [
            word for members in outputs if "status" in members for word in members["status"].metadata.get("enum", ())
        ]

    @property
    def base(self) -> str:
        """Name of the base class."""
        kinds = {"Create": "Create", "Start": "Create", "Delete": "Delete", "Cancel": "Delete"}
        waits = any(status.startswith(_STATUSES.get(self.verb, "?")) for status in self.statuses)
        kind = kinds.get(self.verb, "")
        if waits:
            kind = {"Create": "Job", "Delete": "DeleteAndWait"}.get(kind, kind)
        return f"CleanRoomsML{kind}Operator"

    @property
    def keywords(self) -> str:
        """Name of the type of the base's keyword arguments."""
        if self._is_updatable:
            return "UpdatingKwargs"
        kinds = {"Job": "CreatingAndWaiting", "Create": "Creating", "DeleteAndWait": "Waiting"}
        return next((kind for base, kind in kinds.items() if base in self.base), "Aws") + "Kwargs"

    @property
    def _is_updatable(self) -> bool:
        """Whether an existing resource can be updated instead; Clean Rooms ML has a single Update operation."""
        service = self.model.service_model
        return (
            self.verb == "Create"
            and service.service_name == "cleanroomsml"
            and f"Update{self.noun}" in service.operation_names
        )

    @cached_property
    def arguments(self) -> dict[str, str]:
        """Annotations by argument, the required ones first."""
        shape = self.model.input_shape
        members = get_members(shape)
        required = [name for name in members if shape and name in shape.required_members]
        optional = [name for name in members if name not in required]
        typed = {xform_name(name): format_templated(members[name]) for name in required}
        return typed | {xform_name(name): f"{format_templated(members[name])} | None = None" for name in optional}

    @property
    def returns(self) -> str | None:
        """Member of the response with the ARN; None if there is none."""
        # An export job has no ARN, and a description may have several.
        arns = [name for name in get_members(self.model.output_shape) if name.endswith("Arn")]
        return xform_name(arns[0]) if len(arns) == 1 else None

    def _format_imports(self) -> str:
        used = " ".join(self.arguments.values())
        shapes = sorted(set(re.findall(r"\w+", used)) & set(NestedTypes.collect().shapes))
        collections = [name for name in ("Mapping", "Sequence") if f"{name}[" in used]
        goal = self.verb in _GOALS and self._waits
        names = [
            self.model.service_model.service_name == "cleanrooms" and "CLEAN_ROOMS",
            self._has_resource and xform_name(self.noun).upper(),
            goal and "Goal",
        ]
        resources = ", ".join(name for name in names if name)
        lines = [
            collections and f"from collections.abc import {', '.join(collections)}",
            "datetime" in used and "from datetime import datetime",
            f"from typing import TYPE_CHECKING{', Any' if 'Any' in used else ''}\n",
            f"from airflow_cleanroomsml.operators.{_HOMES[self.base]} import {self.base}",
            resources and f"from airflow_cleanroomsml._resources.table import {resources}",
            "\nif TYPE_CHECKING:\n    from typing_extensions import Unpack\n",
            shapes and f"    from airflow_cleanroomsml.request_types import {', '.join(shapes)}",
            f"    from airflow_cleanroomsml.typing import {', '.join(sorted([self.keywords, 'Templated']))}",
        ]
        return "\n".join(line for line in lines if line)

    @property
    def _has_resource(self) -> bool:
        return "Create" in self.base or self._waits

    @property
    def _waits(self) -> bool:
        return any(kind in self.base for kind in ("Job", "DeleteAndWait"))

    def _format_docstring(self) -> str:
        noun = _to_words(self.model.name.removeprefix(self.verb))
        article = "an" if noun[0] in "aeiou" or noun.startswith("ML") else "a"
        members = {xform_name(name): member for name, member in get_members(self.model.input_shape).items()}
        texts = [f":param {name}: {_describe_argument(name, members[name])}." for name in self.arguments]
        if self.returns:
            texts.append(f":return: ARN of the {_to_words(self.noun)}.")
        wrapped = [fill(text, 120, initial_indent="    ", subsequent_indent="        ") for text in texts]
        return "\n".join([f"    {self.verb} {article} {noun}: ….", "", *wrapped])

    def _format_attributes(self) -> str:
        service = self.model.service_model.service_name
        lines = [
            service == "cleanrooms" and "service = CLEAN_ROOMS",
            f'operation = "{xform_name(self.model.name)}"',
            self.returns and f'returns = "{self.returns}"',
            self._has_resource and f"resource = {xform_name(self.noun).upper()}",
            self._is_updatable and 'choices = ("fail", "reuse", "update")',
            self._waits and self.verb in _GOALS and f"goal = Goal.{_GOALS[self.verb]}",
        ]
        return "\n".join(f"    {line}" for line in lines if line)

    def __str__(self) -> str:
        service = {"cleanroomsml": "CleanRoomsML", "cleanrooms": "CleanRooms"}[self.model.service_model.service_name]
        title = _to_words(self.noun)
        parts = [
            f'"""{title[0].upper()}{title[1:]}s: …."""\n\nfrom __future__ import annotations\n',
            f"{self._format_imports()}\n\n",
            f"class {service}{self.model.name}Operator({self.base}):",
            f'    """\n{self._format_docstring()}\n    """\n',
            f"{self._format_attributes()}\n",
            "    def __init__(\n        self,\n        *,",
            *(f"        {name}: {annotation}," for name, annotation in self.arguments.items()),
            f"        **kwargs: Unpack[{self.keywords}],\n    ) -> None:\n        super().__init__(**kwargs)",
            *(f"        self.{name} = {name}" for name in self.arguments),
        ]
        return "\n".join(parts) + "\n"


def build_scaffold(name: str) -> str:
    """
    Build the module of an operation's operator.

    :param name: Name of the operation, in the API's spelling.
    """
    models = {model.name: model for model in iterate_operations()}
    if name not in models:
        raise SystemExit(f"{name!r} is not an operation with an operator; allowed: {', '.join(sorted(models))}")
    return str(Scaffold(models[name]))


if __name__ == "__main__":
    sys.stdout.write(build_scaffold(sys.argv[1] if len(sys.argv) > 1 else ""))
