"""
Writes the reference in ``docs/`` from the operators and sensors themselves: ``make docs``.

A page for each module of operators, one for the sensors, and the table of contents with the arguments that many share.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from botocore import xform_name

from airflow_cleanroomsml import operators, sensors
from airflow_cleanroomsml._requests.permissions import PASS_ROLE, PASSED_TO
from airflow_cleanroomsml._requests.request import TESTED_BOTOCORE, description
from airflow_cleanroomsml._resources.table import HOUR, Goal, Resource
from airflow_cleanroomsml._xcom import identity_keys
from airflow_cleanroomsml.operators._base import CleanRoomsMLBaseOperator, CleanRoomsMLOperator
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator
from airflow_cleanroomsml.operators._on_kill import CleanRoomsMLEndingOperator
from airflow_cleanroomsml.operators._wait import CleanRoomsMLWaitingOperator
from airflow_cleanroomsml.sensors._base import CleanRoomsMLBaseSensor, CleanRoomsMLSensor
from tools.docstrings import Docstring, in_words, markdown, table
from tools.excerpts import excerpt
from tools.members import explained
from tools.permissions import permissions, policy

FOLDER = Path(__file__).parents[1] / "docs"

#: What is documented once, and the base whose subclasses take it.
SHARED: dict[str, type[Any]] = {
    "Arguments of every operator": CleanRoomsMLBaseOperator,
    "Arguments of operators that make something": CleanRoomsMLCreateOperator,
    "Arguments of operators that wait": CleanRoomsMLWaitingOperator,
    "Arguments of operators that end what they started": CleanRoomsMLEndingOperator,
    "Arguments of every sensor": CleanRoomsMLBaseSensor,
    "Arguments of sensors of one resource": CleanRoomsMLSensor,
}
#: Defaults that Airflow's configuration decides.
_CONFIGURED = {"deferrable": "`[operators] default_deferrable`"}
_AGAIN = "again by botocore after a lost answer: "
#: Arguments with which a put would refuse what it did itself.
_CONDITIONS = ("previous_policy_hash", "policy_existence_condition")
_INDEX = """\
# Reference

- [Guide](guide.md): connections, waiting, names, clean-up, XCom, versions, what is not shown, quotas, costs, the emulator
- How to: [retrain a model every week](howto/weekly_retraining.md), [choose the size of an audience](howto/choose_size.md),
  [generate many segments](howto/many_segments.md)
- [What the emulator assumes](assumptions.md)
- [Testing on a real account](real_account.md)
- [Arguments that many share](#arguments-of-every-operator), and [permissions](#permissions)

`from airflow_cleanroomsml.operators import …` and `from airflow_cleanroomsml.sensors import …` have all classes. The names below are those
of the classes without `CleanRoomsML` (`CleanRooms` for operations of `cleanrooms`, and for lookups) and without `Operator`.

{operators}

[Sensors](sensors.md): {sensors}

These pages are written by `make docs` from the classes, except the guide and the how-to pages. An argument in the tables of a page takes a
value, a Jinja template that renders to it, or another task's output; so do `aws_conn_id`, `region_name` and `verify`. Members of a mapping
have the API's own spelling; a `?` marks one that may be missing. What each is, and what is allowed, is listed below the table, at any
depth, from the service model of botocore {botocore}; any of them may be a template, too.

{shared}

## Permissions

Each entry has a table of the IAM actions that the caller needs, the role or user of the task's connection. Each page ends with a policy
that suffices for its tasks as long as their optional arguments are left out; narrow its resources to your own. It passes roles whose names
begin with `cleanrooms-ml`, as the managed policy `AWSCleanRoomsMLFullAccess` does.

- By default a task tags what it makes, and a retry looks it up by name and tag. With `durable=False` neither the tag (unless there are
  `tags`) nor the lookup is needed, and a lost response fails the task for good.
- With `wait_for_completion=False` what is needed to wait is not.
- Without the optional actions a task does the same; its error message says less.
- `iam:PassRole` is needed for the role in the request; restrict it by the condition key `iam:PassedToService` to `{passed_to}`.
  The user guide lists what that role itself needs.
- `cleanrooms:PassMembership` and `cleanrooms:PassCollaboration` are permissions without an operation. Clean Rooms ML checks them for every
  request about custom models that names a membership or a collaboration (user guide, ml-behaviors-byom).
- When many deferred tasks wait for resources of one kind, the triggerer lists them, 100 at a time. If it may not list, it reads each one.
- For `kms_key_arn` the key's policy has to allow the caller and `{passed_to}` `kms:DescribeKey`, `kms:Decrypt`,
  `kms:GenerateDataKey` and `kms:CreateGrant` (user guide, data-protection).

The actions of each request are those of the service authorization reference and the user guide. The tests run every task in the
emulator with exactly the actions of its table, and without each one of them; none of this has been tried on AWS.
"""


def modules() -> list[ModuleType]:
    """The public modules of operators."""
    names = [module.name for module in pkgutil.iter_modules(operators.__path__)]
    return [
        importlib.import_module(f"{operators.__name__}.{name}") for name in names if not name.startswith(("_", "base"))
    ]


def classes(module: ModuleType) -> list[type[Any]]:
    """The operators of a module in the order of the file."""
    return [thing for name, thing in vars(module).items() if name in operators.__all__ and inspect.isclass(thing)]


def pages() -> dict[str, str]:
    """All pages: path below ``docs/`` to text."""
    found = {f"operators/{_noun(module)}.md": _page(module) for module in modules()}
    return {"index.md": _index(), "sensors.md": _sensors(), **found}


def _noun(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _title(module: ModuleType) -> tuple[str, str]:
    """A module's title and what else its sentence says."""
    title, _, rest = Docstring.of(module).paragraphs[0].partition(": ")
    return title.removesuffix("."), rest[:1].upper() + rest[1:]


def _page(module: ModuleType) -> str:
    found = classes(module)
    return _joined(
        *_head(module, found), *(_entry(cls, "../") for cls in found), _policy(found), "[All pages](../index.md)"
    )


def _sensors() -> str:
    found = [getattr(sensors, name) for name in sensors.__all__]
    return _joined(*_head(sensors, found), *(_entry(cls, "") for cls in found), _policy(found), "[All pages](index.md)")


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(module: ModuleType, found: list[type[Any]]) -> list[str]:
    title, sentence = _title(module)
    return [f"# {title}", sentence, "\n".join(f"- {_link(cls, '')}" for cls in found)]


def _link(cls: type[Any], page: str) -> str:
    name = cls.__name__ if not page else cls.__name__.removeprefix("CleanRooms").removeprefix("ML")
    return f"[`{name.removesuffix('Operator') if page else name}`]({page}#{cls.__name__.lower()})"


def _index() -> str:
    rows = [
        (f"[{_title(module)[0]}]({path})", ", ".join(_link(cls, path) for cls in classes(module)))
        for module in modules()
        for path in [f"operators/{_noun(module)}.md"]
    ]
    shared = [f"## {title}\n\n{_arguments(base)}" for title, base in SHARED.items()]
    found = ", ".join(_link(getattr(sensors, name), "sensors.md") for name in sensors.__all__)
    overview = table(("about", "operators"), rows)
    return _INDEX.format(
        passed_to=PASSED_TO, operators=overview, sensors=found, shared="\n\n".join(shared), botocore=TESTED_BOTOCORE
    )


def _entry(cls: type[Any], up: str) -> str:
    """
    All about one class.

    :param up: The way from its page to the table of contents.
    """
    said = Docstring.of(cls)
    facts = {
        "Returns": said.returns,
        "Raises": "; ".join(f"`{name}`: {text.removesuffix('.')}" for name, text in said.raises.items()),
        "Pushes to XCom": _pushes(cls, up),
        "Waits": _waits(cls),
        "Sent": _sent(cls),
        "Permissions": "" if permissions(cls) else "those of the operation that is called",
        "Also takes": _also_takes(cls, up),
    }
    known = [f"- **{name}** {text.removesuffix('.')}." for name, text in facts.items() if text]
    return _joined(
        f"## {cls.__name__}",
        *said.paragraphs,
        _arguments(cls),
        explained(cls),
        "\n".join(known),
        _permissions(cls),
        _example(cls, up),
    ).rstrip()


def _arguments(cls: type[Any]) -> str:
    said = Docstring.of(cls).arguments
    parameters = [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind is p.KEYWORD_ONLY]
    rows = [(f"`{p.name}`", _default(p), in_words(p.annotation), said[p.name]) for p in parameters]
    return table(("argument", "default", "type", "meaning"), rows) if rows else ""


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "required"
    return _CONFIGURED.get(parameter.name) or "`" + repr(parameter.default).replace("'", '"') + "`"


def _pushes(cls: type[Any], up: str) -> str:
    """What goes to XCom beside the result; what a class pushes itself its docstring says."""
    makes = issubclass(cls, CleanRoomsMLSensor) or getattr(cls, "goal", None) is Goal.CREATED
    own = identity_keys(cls.resource, cls.arguments) if issubclass(cls, CleanRoomsMLCreateOperator) else ()
    reports = [key for key in map(xform_name, cls.resource.reports if makes else ()) if key not in own]
    texts = (
        (own, f"[before it waits]({up}guide.md#xcom), so also if it fails later"),
        (reports, "at the end, what the service gives of it"),
    )
    return "; ".join(f"{', '.join(f'`{name}`' for name in names)}: {text}" for names, text in texts if names)


def _waits(cls: type[Any]) -> str:
    if not issubclass(cls, CleanRoomsMLWaitingOperator):
        return ""
    resource = cls.resource
    own = vars(cls).get("_timeout")
    longest = markdown(own.__doc__ or "").rstrip(".") if own else _lasting(resource.timeout)
    return (
        f"until the {resource.noun} {_end(cls.goal, resource)}. Time-out: {longest}. Longest pause between two looks: "
        f"{resource.delay:.0f} s"
    )


def _end(goal: Goal, resource: Resource) -> str:
    if goal is Goal.CREATED:
        return "is ACTIVE"
    if goal is Goal.CANCELLED:
        return "is INACTIVE, or has ended before"
    stays = "INACTIVE" in description(resource).members["status"].metadata["enum"]
    return "is INACTIVE" if stays else "is gone"


def _lasting(seconds: float) -> str:
    hours = seconds / HOUR
    number, unit = (hours / 24, "day") if hours > 72 else (hours, "hour")
    return f"{number:.0f} {unit}{'s' if number > 1 else ''}"


def _sent(cls: type[Any]) -> str:
    if not issubclass(cls, CleanRoomsMLOperator):
        return ""
    if issubclass(cls, CleanRoomsMLCreateOperator):
        return (
            "once. After a lost response the task looks for what it may have made, and goes on with it; if nothing shows, it fails "
            "and a retry looks again. With `durable=False` a lost response fails it for good, unless "
            '`if_exists="reuse"` finds what was made'
        )
    conditions = [f"`{name}`" for name in _CONDITIONS if name in cls.arguments]
    return _AGAIN + _why_again(cls) + (f"; with {' or '.join(conditions)} once" if conditions else "")


def _why_again(cls: type[CleanRoomsMLOperator]) -> str:
    if not issubclass(cls, CleanRoomsMLDeleteOperator):
        return "the same request has the same effect"
    if cls.goal is Goal.CANCELLED:
        return "what has ended or is gone already is success"
    return f"what is gone{' or being deleted' if cls.resource else ''} already is success"


def _permissions(cls: type[Any]) -> str:
    rows = [(case.when, ", ".join(map(_action, actions))) for case, actions in permissions(cls).items()]
    return table(("needed", "IAM actions"), rows) if rows else ""


def _action(action: str) -> str:
    return f"`{action}`" + (f" to `{PASSED_TO}`" if action == PASS_ROLE else "")


def _policy(found: list[type[Any]]) -> str:
    """The policy at the end of a page."""
    known = [cls for cls in found if permissions(cls)]
    if not known:
        return ""
    return f"""\
## Policy

For {"the tasks of this page" if len(known) > 1 else "this task"}, as long as optional arguments are left out:

```json
{policy(known)}
```"""


def _also_takes(cls: type[Any], up: str) -> str:
    found = {title: base for title, base in SHARED.items() if issubclass(cls, base)}
    links = [f"[{title[0].lower()}{title[1:]}]({up}index.md#{title.lower().replace(' ', '-')})" for title in found]
    return ", ".join(links) + "; Airflow's own"


def _example(cls: type[Any], up: str) -> str:
    found = excerpt(cls.__name__)
    if found is None:
        return ""
    file = f"example_dags/{found.file}"
    return f"From [`{file}`]({up}../{file}):\n\n```python\n{found.source}\n```"


def main() -> None:
    """Write the pages, and remove those of modules that are gone."""
    found = pages()
    for stale in FOLDER.glob("operators/*.md"):
        if f"operators/{stale.name}" not in found:
            stale.unlink()
    for name, text in found.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
