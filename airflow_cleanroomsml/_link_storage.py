"""
Storing the extra links of a task in XCom.

A link is stored as soon as what it needs is known, so it is shown while the task runs, and also if the task fails. A link never fails a
task: if it cannot be built or stored, there is none.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _compat
from airflow_cleanroomsml.links import STORED_LINKS, AwsLink, Facts

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._resources.table import Resource
    from airflow_cleanroomsml.exceptions import ServiceError

log = logging.getLogger(__name__)

#: The console of each partition; the consoles of other partitions are not public, so tasks there have no links to them.
_CONSOLES = {
    "aws": "https://{region}.console.aws.amazon.com",
    "aws-cn": "https://{region}.console.amazonaws.cn",
    "aws-us-gov": "https://{region}.console.amazonaws-us-gov.com",
}
# Not compiled here, which every parse of a Dag would pay for.
_REGION = r"[a-z0-9-]+"


def store_request_links(task: Any, context: Context, arguments: Mapping[str, Any] | None = None) -> None:
    """
    Store the links that follow from the task's arguments.

    :param arguments: Members of the request; None takes the task's own arguments.
    """
    from airflow_cleanroomsml._requests.sensitive import reveal

    # From here on get_link() answers from memory; a task that resumes after a deferral does not come this way and reads XCom.
    vars(task)[STORED_LINKS] = {}
    if arguments is None:
        names = [name for name in task.template_fields if name not in task.connection_fields]
        arguments = {name: reveal(getattr(task, name)) for name in names}
    resource: Resource | None = task.resource
    operation = task.operation or task.reference
    if resource:
        operation = operation or resource.get or resource.list
    noun = resource.noun if resource else ""
    reference = _find_reference(type(task))
    _store(task, context, Facts(arguments, service=task.service, operation=operation, noun=noun, reference=reference))


def store_result_links(task: Any, context: Context, members: Mapping[str, Any]) -> None:
    """
    Store the links that follow from the service's description of a resource.

    :param members: Members of the description, in either spelling.
    """
    _store(task, context, Facts(members))


def store_error_links(task: Any, context: Context, error: ServiceError) -> None:
    """Store the links that follow from an error of the service."""
    _store(task, context, Facts({}, error=error))


def _store(task: Any, context: Context, facts: Facts) -> None:
    # Without a task instance, as when execute() is called by hand, there is nowhere to store a link.
    ti = context.get("ti")
    for link in task.operator_extra_links if ti else ():
        if not isinstance(link, AwsLink):
            continue
        try:
            if url := _build_url(link, facts, task):
                if STORED_LINKS in vars(task):
                    vars(task)[STORED_LINKS][link.xcom_key] = url
                _compat.store_link(ti, link.xcom_key, url)
        except Exception as error:
            log.info(
                "Could not build or store the extra link %r; the task continues. %s: %s",
                link.name,
                type(error).__name__,
                error,
            )


def _build_url(link: AwsLink, facts: Facts, task: Any) -> str:
    page = link.find_page(facts)
    if not page or page.startswith("https://"):
        return page
    console, region = _find_console(facts, task)
    return f"{console}/{page}".replace("{region}", region) if console else ""


def _find_console(facts: Facts, task: Any) -> tuple[str, str]:
    """
    Return the address of the console and the region; empty if they are not known.

    The ARN of a resource contains both, and needs no credentials; otherwise boto3 knows them.
    """
    from airflow_cleanroomsml._requests.arns import parse_arn
    from airflow_cleanroomsml._resources.data_flow import ServiceResource, find_data

    resources = [data for data in find_data(facts.members) if isinstance(data, ServiceResource)]
    arn = parse_arn(resources[0].arn) if resources else None
    partition, region = (
        (arn.partition, arn.region) if arn else (task.hook.conn_partition, task.hook.conn_region_name or "")
    )
    # The region may come from a template; it becomes part of a host name, so nothing else may get into it.
    if partition not in _CONSOLES or not re.fullmatch(_REGION, region):
        return "", ""
    return _CONSOLES[partition].format(region=region), region


def _find_reference(cls: type[Any]) -> str:
    """Return the page and the heading of a class, or of the class of ours that it is derived from, as the site has them."""
    for base in cls.__mro__:
        package, _, noun = base.__module__.removeprefix("airflow_cleanroomsml.").partition(".")
        if package in ("operators", "sensors") and base.__module__.startswith("airflow_cleanroomsml."):
            page = f"operators/{noun}" if package == "operators" else package
            return f"{page}.html#{base.__name__.lower()}"
    return ""
