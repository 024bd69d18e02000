"""
Generates the reference in ``docs/`` from the operators and sensors: ``make docs``.

It has a page for each module of operators, one for all sensors, and an index with the arguments that several classes share.
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
from airflow_cleanroomsml._requests.request import TESTED_BOTOCORE, find_description_shape
from airflow_cleanroomsml._resources.table import HOUR, Goal, Resource
from airflow_cleanroomsml._xcom import list_identity_keys
from airflow_cleanroomsml.links import LINKS, AwsLink
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteAndWaitOperator, CleanRoomsMLDeleteOperator
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator
from airflow_cleanroomsml.sensors._base import CleanRoomsMLBaseSensor
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLSensor
from tools.docstrings import Docstring, describe_annotation, format_table, to_markdown
from tools.excerpts import find_excerpt
from tools.members import explain_members
from tools.pages import build_examples_page, build_iam_page, format_data_requirements, list_pages, read_title
from tools.permissions import build_policy, group_permissions

FOLDER = Path(__file__).parents[1] / "docs"

#: Titles of the sections for shared arguments, and the bases whose subclasses take them.
SHARED: dict[str, type[Any]] = {
    "Arguments of every operator": CleanRoomsMLOperator,
    "Arguments of operators that create a resource": CleanRoomsMLCreateOperator,
    "Arguments of operators that start jobs": CleanRoomsMLJobOperator,
    "Arguments of operators that delete or cancel and wait": CleanRoomsMLDeleteAndWaitOperator,
    "Arguments of every sensor": CleanRoomsMLBaseSensor,
    "Arguments of sensors of one resource": CleanRoomsMLSensor,
}
#: Pages with a section about the data.
_WITH_DATA = {"audience_model", "training_dataset"}
#: Defaults from Airflow's configuration.
_CONFIGURED = {"deferrable": "`[operators] default_deferrable`"}
_REPEATED = "again by botocore after a lost response: "
#: Arguments that make a repeated put fail, because the first one has changed the policy.
_CONDITIONS = ("previous_policy_hash", "policy_existence_condition")
_INDEX = """\
# Reference

- [Tutorial](tutorial.md): from `pip install` to an audience, in the emulator
- [Guide](guide.md): connections, waiting, names, clean-up, XCom, versions, confidential values, quotas, costs
- How to: {howto}
- [Examples](examples.md): Dags with their graphs
- In Airflow: [the page of a job in the UI](ui.md), [extra links](links.md), [assets](assets.md), [lineage](lineage.md)
- Run it on: {deployment}
- [IAM policies](iam_policies.md), [settings](settings.md), [CloudWatch](cloudwatch.md), [upgrade](upgrade.md)
- [Troubleshooting](troubleshooting.md), by class of the error
- [The emulator](emulator.md), [in a container](emulator_image.md), and [what it assumes](assumptions.md)
- [Testing on a real account](real_account.md)
- [Shared arguments](#arguments-of-every-operator) and [permissions](#permissions)
- Design: {design}
{others}
Import all classes from `airflow_cleanroomsml.operators` and `airflow_cleanroomsml.sensors`. Below, class names are shown without the prefix
`CleanRoomsML` (or `CleanRooms`, for operations of `cleanrooms` and lookups) and the suffix `Operator`.

{operators}

[Sensors](sensors.md): {sensors}

| module of `airflow_cleanroomsml` | has |
| --- | --- |
| `task_groups` | [task groups](howto/weekly_retraining.md#set-it-up) of these operators, for Dags of ten lines |
| `hooks` | `CleanRoomsMLHook`: `call` for any operation, `pages` and `items` for listings |
| `links` | [extra links](links.md) to the AWS console, for operators of your own |
| `assets` | [assets](assets.md): URIs of resources, and templates that read asset events |
| `notifications` | [notifiers](howto/retries_and_notifications.md#notify) that say which job ended, how and why |
| `retries` | [a retry policy](howto/retries_and_notifications.md#retry) for Airflow 3.3 and later |
| `testing` | [the emulator in tests and notebooks](howto/test_your_dag.md), and its pytest fixture |
| `triggers` | [the trigger of an asset watcher](howto/follow_partner_jobs.md#the-asset-watcher), and those of deferred tasks |
| `pause` | a trigger of deferred tasks; Dags do not use it |
| `exceptions` | [the errors](troubleshooting.md) |
| `typing`, `request_types` | types for annotations, see [types](guide.md#types) |

The site that `make docs` builds also has the API of these modules; the pages of operators and sensors are generated from the classes. Each
argument in the tables of a page takes a value, a Jinja template that renders to one, or the output of another task; so do `aws_conn_id`,
`region_name` and `verify`. Members of a mapping have the API's own spelling; a `?` marks optional ones. Below the table, all members are
listed with their types and allowed values, from the service model of botocore {botocore}. They can be templates, too.

{shared}

## Permissions

The entry of each class has a table of the IAM actions that the caller needs: the role or user of the task's connection. Each page ends with
a policy that is sufficient for its tasks if optional arguments are left out; restrict it to your own resources. It allows passing roles
whose names start with `cleanrooms-ml`, like the managed policy `AWSCleanRoomsMLFullAccess`.

- By default, a task tags the resource that it creates, and a retry finds it by name and tag. With `durable=False` neither the tag (unless
  there are `tags`) nor the lookup is needed, but a lost response fails the task for good.
- With `wait_for_completion=False`, the actions for waiting are not needed.
- The optional actions only add details to error messages.
- `iam:PassRole` is needed for the role in the request. Restrict it to `{passed_to}` with the condition key `iam:PassedToService`.
  The user guide lists the permissions of that role.
- `cleanrooms:PassMembership` and `cleanrooms:PassCollaboration` are actions without an operation. Clean Rooms ML checks them for each
  request about custom models that contains a membership or a collaboration (user guide, ml-behaviors-byom).
- If many deferred tasks wait for resources of the same kind, the triggerer lists them, 100 at a time. Without permission to list, it reads
  each one.
- With `kms_key_arn`, the key policy must allow `kms:DescribeKey`, `kms:Decrypt`, `kms:GenerateDataKey` and `kms:CreateGrant` to the caller
  and to `{passed_to}` (user guide, data-protection).

The actions are those of the service authorization reference and the user guide. The tests run every task in the emulator with exactly the
actions in its table, and without each one of them; none of this has been tried on AWS.
"""

_LINKS = """\
# Extra links

Airflow shows extra links as buttons on the details of a task instance, and its REST API returns them as `extra_links`. The tasks of this
package link to the AWS console, to AWS's documentation and this one, and to a page in Airflow itself:

{overview}

## When a link appears

- A link appears as soon as the task knows its target: before the request is sent if the target is in the arguments, otherwise when the
  service returns it, in a response or at the end of the job.
- Links stay if the task fails, and during and after a deferral. A new try begins without links. Each mapped task instance has its own.
- With `do_xcom_push=False` the links to AWS remain: Airflow 3 stores links in XCom for every task, under `_link_` and the name of the
  class. **Clean Rooms ML details** disappears, because its page shows the XComs of the task, and then there are none.
- Links open the console of the resource's partition: `aws`, `aws-cn` or `aws-us-gov`. In other partitions a task has only **API reference**
  and **Clean Rooms ML details**.
- AWS documents no addresses for the console pages of models, jobs and channels, so there are no links to them. Open the collaboration, or
  *AWS ML models* and *Custom ML models* in the console's navigation.
- Links never contain confidential values such as SQL. They do contain bucket names, keys and collaboration identifiers.

{sections}

## Add or remove links

The classes are in `airflow_cleanroomsml.links`. Set `operator_extra_links` in a subclass:

```python
from airflow_cleanroomsml.links import ServiceQuotaLink
from airflow_cleanroomsml.operators import CleanRoomsMLCreateAudienceModelOperator


class CreateModel(CleanRoomsMLCreateAudienceModelOperator):
    operator_extra_links = (ServiceQuotaLink(),)
```

[All pages](index.md)
"""
#: Limits of some links, by name.
_LINK_NOTES = {
    "Collaboration": (
        "If the request names only a membership, the link appears once the service has described the resource and named its "
        "collaboration. The description of an inference job does not name one."
    ),
    "Service quota": (
        "AWS does not publish how the service spells `quotaName`, so it is compared with the names of the quotas in the user guide. "
        "If none matches, the link opens the list of quotas. Quotas of `cleanrooms` have no link."
    ),
}
#: The button that leads to a page in Airflow's UI, which docs/ui.md describes.
_DETAILS = (
    "Clean Rooms ML details",
    "a page in Airflow with status, metrics and identifiers of what the task created (Airflow 3.1 and later)",
    "[operators that start jobs, and sensors of one resource](ui.md)",
)


def list_modules() -> list[ModuleType]:
    """Return the public modules of operators."""
    names = [module.name for module in pkgutil.iter_modules(operators.__path__)]
    return [
        importlib.import_module(f"{operators.__name__}.{name}") for name in names if not name.startswith(("_", "base"))
    ]


def list_classes(module: ModuleType) -> list[type[Any]]:
    """Return the operators of a module, in the order of the file."""
    return [value for name, value in vars(module).items() if name in operators.__all__ and inspect.isclass(value)]


def build_pages() -> dict[str, str]:
    """Build all pages; returns their text by path below ``docs/``."""
    all_sensors = [getattr(sensors, name) for name in sensors.__all__]
    return {
        "index.md": _build_index(),
        "examples.md": build_examples_page(),
        "iam_policies.md": build_iam_page(),
        "links.md": _build_links_page(),
        "sensors.md": _build_page(sensors, all_sensors, ""),
        **{
            f"operators/{_get_noun(module)}.md": _build_page(module, list_classes(module), "../")
            for module in list_modules()
        },
    }


def _build_links_page() -> str:
    overview = [(f"**{link.name}**", _describe_link(link), _summarize_tasks(link)) for link in LINKS]
    details = (f"**{_DETAILS[0]}**", *_DETAILS[1:])
    sections = "\n\n".join(_format_link_section(link) for link in LINKS if not _is_on_every_task(link))
    return _LINKS.format(overview=format_table(("button", "opens", "on"), [*overview, details]), sections=sections)


def _describe_link(link: AwsLink) -> str:
    """Return what a link opens, as a part of a sentence."""
    first = to_markdown(Docstring.parse(type(link)).paragraphs[0]).removesuffix(".")
    return first[0].lower() + first[1:]


def _is_on_every_task(link: AwsLink) -> bool:
    return all(link in cls.operator_extra_links for _, _, classes in _list_pages_of_tasks() for cls in classes)


def _summarize_tasks(link: AwsLink) -> str:
    if _is_on_every_task(link):
        return "every operator and sensor"
    return f"[these tasks](#{link.name.lower().replace(' ', '-')})"


def _format_link_section(link: AwsLink) -> str:
    """Format the section of a link: its limits, and the tasks that can have it, by page."""
    _, *more = Docstring.parse(type(link)).paragraphs
    notes = [*map(to_markdown, more), _LINK_NOTES.get(link.name, "")]
    tasks = [
        f"- [{title}]({page}): {', '.join(_format_link(cls, page) for cls in found)}"
        for title, page, classes in _list_pages_of_tasks()
        if (found := [cls for cls in classes if link in cls.operator_extra_links])
    ]
    return _join_parts(f"## {link.name}", " ".join(filter(None, notes)), "\n".join(tasks)).rstrip()


def _list_pages_of_tasks() -> list[tuple[str, str, list[type[Any]]]]:
    """List title, path and classes of the pages of operators and of that of the sensors."""
    pages = [
        (_split_title(module)[0], f"operators/{_get_noun(module)}.md", list_classes(module))
        for module in list_modules()
    ]
    return [*pages, ("Sensors", "sensors.md", [getattr(sensors, name) for name in sensors.__all__])]


def _get_noun(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _split_title(module: ModuleType) -> tuple[str, str]:
    """Split the first sentence of a module's docstring into a title and the rest."""
    title, _, rest = Docstring.parse(module).paragraphs[0].partition(": ")
    return title.removesuffix("."), rest[:1].upper() + rest[1:]


def _build_page(module: ModuleType, classes: list[type[Any]], up: str) -> str:
    """
    Build the page of a module.

    :param up: Relative path from the page to the index.
    """
    return _join_parts(
        *_build_head(module, classes),
        *(_build_entry(cls, up) for cls in classes),
        format_data_requirements() if _get_noun(module) in _WITH_DATA else "",
        _format_policy(classes),
        f"[All pages]({up}index.md)",
    )


def _join_parts(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _build_head(module: ModuleType, classes: list[type[Any]]) -> list[str]:
    title, sentence = _split_title(module)
    return [f"# {title}", sentence, "\n".join(f"- {_format_link(cls, '')}" for cls in classes)]


def _format_link(cls: type[Any], page: str) -> str:
    name = cls.__name__ if not page else cls.__name__.removeprefix("CleanRooms").removeprefix("ML")
    return f"[`{name.removesuffix('Operator') if page else name}`]({page}#{cls.__name__.lower()})"


def _build_index() -> str:
    rows = [
        (f"[{_split_title(module)[0]}]({path})", ", ".join(_format_link(cls, path) for cls in list_classes(module)))
        for module in list_modules()
        for path in [f"operators/{_get_noun(module)}.md"]
    ]
    shared = [f"## {title}\n\n{_format_arguments(base)}" for title, base in SHARED.items()]
    sensor_links = ", ".join(_format_link(getattr(sensors, name), "sensors.md") for name in sensors.__all__)
    overview = format_table(("about", "operators"), rows)
    return _INDEX.format(
        passed_to=PASSED_TO,
        operators=overview,
        sensors=sensor_links,
        shared="\n\n".join(shared),
        botocore=TESTED_BOTOCORE,
        howto=list_pages("howto"),
        deployment=list_pages("deployment"),
        design=list_pages("design"),
        others=_list_other_pages(),
    )


def _list_other_pages() -> str:
    """Format links to pages in ``docs/`` that the index does not name otherwise."""
    pages = sorted(path.name for path in FOLDER.glob("*.md") if f"({path.name})" not in _INDEX)
    pages.remove("index.md")
    return "".join(f"- [{read_title(FOLDER / page)}]({page})\n" for page in pages)


def _build_entry(cls: type[Any], up: str) -> str:
    """
    Build the entry of a class.

    :param up: Relative path from its page to the index.
    """
    docstring = Docstring.parse(cls)
    facts = {
        "Returns": docstring.returns,
        "Raises": "; ".join(f"`{name}`: {text.removesuffix('.')}" for name, text in docstring.raises.items()),
        "Pushes to XCom": _describe_xcoms(cls, up),
        "Extra links": f"{', '.join(link.name for link in cls.operator_extra_links)}: [when and where]({up}links.md)",
        "Waits": _describe_wait(cls),
        "Sent": _describe_sending(cls),
        "Permissions": "" if group_permissions(cls) else "those of the called operation",
        "Also takes": _link_shared_arguments(cls, up),
    }
    items = [f"- **{name}** {text.removesuffix('.')}." for name, text in facts.items() if text]
    return _join_parts(
        f"## {cls.__name__}",
        *docstring.paragraphs,
        _format_arguments(cls),
        explain_members(cls),
        "\n".join(items),
        _format_permissions(cls),
        _format_example(cls, up),
    ).rstrip()


def _format_arguments(cls: type[Any]) -> str:
    meanings = Docstring.parse(cls).arguments
    # Arguments in **kwargs are documented with the base class.
    parameters = [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind is p.KEYWORD_ONLY]
    rows = [
        (f"`{p.name}`", _format_default(p), describe_annotation(p.annotation), meanings[p.name]) for p in parameters
    ]
    return format_table(("argument", "default", "type", "meaning"), rows) if rows else ""


def _format_default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "required"
    return _CONFIGURED.get(parameter.name) or "`" + repr(parameter.default).replace("'", '"') + "`"


def _describe_xcoms(cls: type[Any], up: str) -> str:
    """Describe the XComs besides the return value; docstrings describe those that a class pushes itself."""
    reports_end = issubclass(cls, CleanRoomsMLSensor) or getattr(cls, "goal", None) is Goal.CREATED
    identity = list_identity_keys(cls.resource, cls.arguments) if issubclass(cls, CleanRoomsMLCreateOperator) else ()
    reports = [key for key in map(xform_name, cls.resource.outputs if reports_end else ()) if key not in identity]
    texts = (
        (identity, f"[before waiting]({up}guide.md#xcom), so also if it fails later"),
        (reports, "at the end, if the service returns them"),
    )
    return "; ".join(f"{', '.join(f'`{name}`' for name in names)}: {text}" for names, text in texts if names)


def _describe_wait(cls: type[Any]) -> str:
    if not issubclass(cls, (CleanRoomsMLJobOperator, CleanRoomsMLDeleteAndWaitOperator)):
        return ""
    resource = cls.resource
    override = vars(cls).get("estimate_timeout")
    timeout = to_markdown(override.__doc__ or "").rstrip(".") if override else _format_duration(resource.timeout)
    return (
        f"until the {resource.noun} {_describe_goal(cls.goal, resource)}. Timeout: {timeout}. Longest delay between two polls: "
        f"{resource.delay:.0f} s"
    )


def _describe_goal(goal: Goal, resource: Resource) -> str:
    if goal is Goal.CREATED:
        return "is ACTIVE"
    if goal is Goal.CANCELLED:
        return "is INACTIVE, or has already ended"
    keeps_metadata = "INACTIVE" in find_description_shape(resource).members["status"].metadata["enum"]
    return "is INACTIVE" if keeps_metadata else "no longer exists"


def _format_duration(seconds: float) -> str:
    hours = seconds / HOUR
    number, unit = (hours / 24, "day") if hours > 72 else (hours, "hour")
    return f"{number:.0f} {unit}{'s' if number > 1 else ''}"


def _describe_sending(cls: type[Any]) -> str:
    if not getattr(cls, "operation", ""):
        return ""
    if issubclass(cls, CleanRoomsMLCreateOperator):
        return (
            "once. After a lost response, the task looks for the resource and continues with it; if it finds none, it fails, and a retry "
            "looks again. With `durable=False`, a lost response fails the task for good, unless "
            '`if_exists="reuse"` finds the resource'
        )
    conditions = [f"`{name}`" for name in _CONDITIONS if name in cls.arguments]
    return _REPEATED + _describe_repetition(cls) + (f"; with {' or '.join(conditions)} only once" if conditions else "")


def _describe_repetition(cls: type[CleanRoomsMLOperator]) -> str:
    if not issubclass(cls, CleanRoomsMLDeleteOperator):
        return "the same request has the same effect"
    if cls.goal is Goal.CANCELLED:
        return "a resource that has ended or no longer exists counts as success"
    deleting = " or is being deleted" if issubclass(cls, CleanRoomsMLDeleteAndWaitOperator) else ""
    return f"a resource that no longer exists{deleting} counts as success"


def _format_permissions(cls: type[Any]) -> str:
    rows = [(case.when, ", ".join(map(_format_action, actions))) for case, actions in group_permissions(cls).items()]
    return format_table(("needed", "IAM actions"), rows) if rows else ""


def _format_action(action: str) -> str:
    return f"`{action}`" + (f" to `{PASSED_TO}`" if action == PASS_ROLE else "")


def _format_policy(classes: list[type[Any]]) -> str:
    """Format the policy at the end of a page."""
    with_permissions = [cls for cls in classes if group_permissions(cls)]
    if not with_permissions:
        return ""
    return f"""\
## Policy

For {"the tasks on this page" if len(with_permissions) > 1 else "this task"}, if optional arguments are left out:

```json
{build_policy(with_permissions)}
```"""


def _link_shared_arguments(cls: type[Any], up: str) -> str:
    titles = [title for title, base in SHARED.items() if issubclass(cls, base)]
    links = [f"[{title[0].lower()}{title[1:]}]({up}index.md#{title.lower().replace(' ', '-')})" for title in titles]
    return ", ".join(links) + "; those of Airflow's base class"


def _format_example(cls: type[Any], up: str) -> str:
    excerpt = find_excerpt(cls.__name__)
    if excerpt is None:
        return ""
    file = f"example_dags/{excerpt.file}"
    return f"From [`{file}`]({up}../{file}):\n\n```python\n{excerpt.source}\n```"


def main() -> None:
    """Write the pages, and remove those of modules that no longer exist."""
    pages = build_pages()
    for stale in FOLDER.glob("operators/*.md"):
        if f"operators/{stale.name}" not in pages:
            stale.unlink()
    for name, text in pages.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
