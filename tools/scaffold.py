"""
Prints an operator's class from the service model, for a person to finish: ``nox -s scaffold -- CreateMLInputChannel``.

What the model cannot know stands as "…": what the thing is, and what an argument means.
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

from tools.request_types import Found, operations, templated, words

#: Verb to the beginning of the statuses that it leads through.
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


def _spaced(name: str) -> str:
    """``MLInputChannel`` as "ML input channel"."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)
    return " ".join(part if part.isupper() else part.lower() for part in parts)


def _bounds(shape: Shape) -> str:
    """How long, many or great a value may be."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if not low and high is None:
        return ""
    number = f"at least {low:,}" if high is None else f"{low:,} to {high:,}" if low else f"up to {high:,}"
    if low == high:
        number = f"{high:,}"
    unit = _UNITS.get(shape.type_name, "")
    plural = unit.removesuffix("y") + "ies" if unit.endswith("y") else unit and unit + "s"
    return f"{number} {unit if high == 1 else plural}".rstrip()


def _range(shape: Shape) -> str:
    """What the model says of a value, as words."""
    if isinstance(shape, StructureShape):
        return f"``{{{', '.join(shape.members)}}}``"
    if words(shape):
        return ", ".join(f"``{word}``" for word in words(shape))
    own = _bounds(shape)
    below = _range(shape.member) if isinstance(shape, ListShape) else ""
    return " of ".join(part for part in (own, below) if part) or shape.type_name


def _described(name: str, shape: Shape) -> str:
    if name.endswith("_arn"):
        return f"ARN of the {name.removesuffix('_arn').replace('_', ' ')}"
    return f"…, {_range(shape)}"


def members_of(shape: Shape | None) -> Mapping[str, Shape]:
    """The members of a structure; none, if it is none."""
    return shape.members if isinstance(shape, StructureShape) else {}


@dataclass(frozen=True)
class Scaffold:
    """
    One operator.

    :param model: Model of the operation.
    """

    model: OperationModel

    @property
    def verb(self) -> str:
        """The first word of the operation."""
        return re.sub(r"(?<=[a-z])[A-Z].*", "", self.model.name)

    @cached_property
    def noun(self) -> str:
        """What the operation is about: the longest noun that the service can look at, ``MLInputChannel`` for its data as well."""
        about = self.model.name.removeprefix(self.verb)
        known = {
            re.sub(r"^(Get|List)(Collaboration)?|s$", "", name) for name in self.model.service_model.operation_names
        }
        return max((noun for noun in known if noun and about.startswith(noun)), key=len, default=about)

    @cached_property
    def statuses(self) -> list[str]:
        """The statuses of the noun, from its Get or its List."""
        service = self.model.service_model
        looks = {f"Get{self.noun}", f"List{self.noun}s", f"ListCollaboration{self.noun}s"} & set(
            service.operation_names
        )
        answers = [members_of(service.operation_model(name).output_shape) for name in looks]
        answers += [
            members_of(shape.member)
            for members in answers
            for shape in members.values()
            if isinstance(shape, ListShape)
        ]
        return [
            word for members in answers if "status" in members for word in members["status"].metadata.get("enum", ())
        ]

    @property
    def base(self) -> str:
        """Base of the class."""
        kinds = {"Create": "Create", "Start": "Create", "Delete": "Delete", "Cancel": "Delete"}
        waits = any(status.startswith(_STATUSES.get(self.verb, "?")) for status in self.statuses)
        kind = kinds.get(self.verb, "")
        if waits:
            kind = {"Create": "Job", "Delete": "DeleteAndWait"}.get(kind, kind)
        return f"CleanRoomsML{kind}Operator"

    @property
    def keywords(self) -> str:
        """The type of the arguments of the base."""
        if self._is_updatable:
            return "UpdatingKwargs"
        kinds = {"Job": "CreatingAndWaiting", "Create": "Creating", "DeleteAndWait": "Waiting"}
        return next((kind for base, kind in kinds.items() if base in self.base), "Aws") + "Kwargs"

    @property
    def _is_updatable(self) -> bool:
        """Whether an existing one can be changed to what is asked for: Clean Rooms ML has one update."""
        service = self.model.service_model
        return (
            self.verb == "Create"
            and service.service_name == "cleanroomsml"
            and f"Update{self.noun}" in service.operation_names
        )

    @cached_property
    def arguments(self) -> dict[str, str]:
        """Arguments and their annotations, the required ones first."""
        shape = self.model.input_shape
        members = members_of(shape)
        required = [name for name in members if shape and name in shape.required_members]
        optional = [name for name in members if name not in required]
        typed = {xform_name(name): templated(members[name]) for name in required}
        return typed | {xform_name(name): f"{templated(members[name])} | None = None" for name in optional}

    @property
    def returns(self) -> str | None:
        """The answer's ARN, if it has one."""
        arns = [name for name in members_of(self.model.output_shape) if name.endswith("Arn")]
        return xform_name(arns[0]) if len(arns) == 1 else None

    def _imports(self) -> str:
        used = " ".join(self.arguments.values())
        shapes = sorted(set(re.findall(r"\w+", used)) & set(Found.of_all().shapes))
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

    def _documentation(self) -> str:
        thing = _spaced(self.model.name.removeprefix(self.verb))
        article = "an" if thing[0] in "aeiou" or thing.startswith("ML") else "a"
        members = {xform_name(name): member for name, member in members_of(self.model.input_shape).items()}
        texts = [f":param {name}: {_described(name, members[name])}." for name in self.arguments]
        if self.returns:
            texts.append(f":return: ARN of the {_spaced(self.noun)}.")
        wrapped = [fill(text, 120, initial_indent="    ", subsequent_indent="        ") for text in texts]
        return "\n".join([f"    {self.verb} {article} {thing}: ….", "", *wrapped])

    def _attributes(self) -> str:
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
        title = _spaced(self.noun)
        parts = [
            f'"""{title[0].upper()}{title[1:]}s: …."""\n\nfrom __future__ import annotations\n',
            f"{self._imports()}\n\n",
            f"class {service}{self.model.name}Operator({self.base}):",
            f'    """\n{self._documentation()}\n    """\n',
            f"{self._attributes()}\n",
            "    def __init__(\n        self,\n        *,",
            *(f"        {name}: {annotation}," for name, annotation in self.arguments.items()),
            f"        **kwargs: Unpack[{self.keywords}],\n    ) -> None:\n        super().__init__(**kwargs)",
            *(f"        self.{name} = {name}" for name in self.arguments),
        ]
        return "\n".join(parts) + "\n"


def scaffold(name: str) -> str:
    """
    The module of one operation's operator.

    :param name: Name of the operation, in the API's spelling.
    """
    known = {model.name: model for model in operations()}
    if name not in known:
        raise SystemExit(f"{name!r} is no operation that changes something; there are: {', '.join(sorted(known))}")
    return str(Scaffold(known[name]))


if __name__ == "__main__":
    sys.stdout.write(scaffold(sys.argv[1] if len(sys.argv) > 1 else ""))
