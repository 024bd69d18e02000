"""
Extra links: buttons of a task instance that open the task's resource in the AWS console, or the reference of its operation.

:mod:`airflow_cleanroomsml._link_storage` stores a link in XCom as soon as its address is known, so the UI shows it while the task runs, and
even if the task fails. Airflow 3 stores all links again whenever the task leaves the worker. ``get_link`` then returns what is already
stored, because a task that resumes after a deferral has lost what it knew before.

A link never fails a task: if it cannot be built or stored, there is none.
"""

from __future__ import annotations

import logging
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow_cleanroomsml import _compat
from airflow_cleanroomsml._compat import BaseOperator, BaseOperatorLink
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML
from airflow_cleanroomsml._ui.link import DETAILS_LINKS

if TYPE_CHECKING:
    from airflow_cleanroomsml.exceptions import ServiceError

log = logging.getLogger(__name__)

_REFERENCES = {
    CLEAN_ROOMS_ML: "https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference",
    CLEAN_ROOMS: "https://docs.aws.amazon.com/clean-rooms/latest/apireference",
}
# Not compiled here, which every parse of a Dag would pay for.
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_S3_URI = r"s3://([a-z0-9][a-z0-9.-]+)(?:/(.*))?"
#: Attribute of a task: the links that it has stored since it began, by key; a task that resumed after a deferral has none.
STORED_LINKS = "_stored_links"


class Facts:
    """
    What a task knows when it stores links.

    :param members: Members of the request, in snake_case, or of a response, in either spelling.
    :param service: boto3's name of the service.
    :param operation: boto3's method name of the operation that the task is about; empty if links to it are stored already.
    :param noun: The kind of resource that the task is about; empty if there is none, or if links to it are stored already.
    :param reference: Place of the task's class in this package's documentation; empty if the link to it is stored already.
    :param error: Why the service refused the request.
    """

    # Not a data class or a named tuple, whose definition would take longer than creating all links.
    def __init__(
        self,
        members: Mapping[str, Any],
        *,
        service: str = CLEAN_ROOMS_ML,
        operation: str = "",
        noun: str = "",
        reference: str = "",
        error: ServiceError | None = None,
    ) -> None:
        self.members = members
        self.service = service
        self.operation = operation
        self.noun = noun
        self.reference = reference
        self.error = error

    def find_member(self, names: Iterable[str]) -> Any:
        """Return the first of these members that has a value; None if none has."""
        values = (self.members.get(name) for name in names)
        return next((value for value in values if value is not None), None)

    def find_location(self, names: Iterable[str]) -> tuple[str, str]:
        """Return bucket and key of the S3 location in the first of these members that has a value; empty if there is none."""
        from airflow_cleanroomsml._requests.coercion import parse_container
        from airflow_cleanroomsml._resources.data_flow import S3Location, find_data

        # Under an empty name, because find_data() ignores members that only say where later operations write.
        value = self.find_member(names)
        found = find_data({"": parse_container(value) if isinstance(value, str) else value})
        match = next((re.fullmatch(_S3_URI, data.uri) for data in found if isinstance(data, S3Location)), None)
        return (match[1], match[2] or "") if match else ("", "")


class AwsLink(BaseOperatorLink):
    """The base of all links."""

    name: ClassVar[str]
    #: Members of the request or of a response from which the link is built; empty if it is built from something else.
    members: ClassVar[tuple[str, ...]] = ()

    @property
    def xcom_key(self) -> str:
        """The key in XCom, which Airflow 3 names so by default and 2.11 does not know."""
        return f"_link_{type(self).__name__}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the link that the task has stored; empty if there is none."""
        # Airflow 3 logs an error for each key that it does not find, so what this process stored is not read again.
        stored: dict[str, str] | None = getattr(operator, STORED_LINKS, None)
        if stored is not None:
            return stored.get(self.xcom_key, "")
        try:
            return _compat.read_link(ti_key, self.xcom_key)
        except Exception as error:
            log.info("Could not read the extra link %r: %s", self.name, error)
            return ""

    @classmethod
    def applies_to(cls, task: type[Any]) -> bool:
        """Whether tasks of a class can have this link: the class takes or reads one of the members."""
        known = (*task.template_fields, *(task.resource.outputs if task.resource else ()))
        return not set(cls.members).isdisjoint(known)

    @classmethod
    @abstractmethod
    def find_page(cls, facts: Facts) -> str:
        """Return the page: a path in the console, with ``{region}`` for the region, or a URL; empty if the facts do not suffice."""


class ApiReferenceLink(AwsLink):
    """The page of the operation in AWS's API reference."""

    name = "API reference"

    @classmethod
    def applies_to(cls, task: type[Any]) -> bool:
        """Whether the class is about an operation, as all are; the operation of some is an argument."""
        return issubclass(task, BaseOperator)

    @classmethod
    def find_page(cls, facts: Facts) -> str:
        """Return the URL, which is the same in all partitions."""
        from airflow_cleanroomsml._requests.request import find_operation, load

        if not facts.operation:
            return ""
        return f"{_REFERENCES[facts.service]}/API_{find_operation(load(facts.service), facts.operation).name}.html"


class CollaborationLink(AwsLink):
    """The collaboration of the resource."""

    name = "Collaboration"
    members = ("collaboration_identifier", "collaboration_id", "collaborationIdentifier", "collaborationId")

    @classmethod
    def find_page(cls, facts: Facts) -> str:
        """Return the page of the collaboration, the only page of a resource whose address samples of AWS show."""
        collaboration = str(facts.find_member(cls.members) or "")
        if not re.fullmatch(_UUID, collaboration):
            return ""
        return f"cleanrooms/home?region={{region}}#/collaborations/{collaboration}"


class InputLink(AwsLink):
    """The seed in S3 of an audience generation job; a SQL seed has no link."""

    name = "Input in S3"
    members = ("seed_audience",)

    @classmethod
    def find_page(cls, facts: Facts) -> str:
        """Return the page of the object, or of the folder."""
        bucket, key = facts.find_location(cls.members)
        if not bucket:
            return ""
        return (
            _build_folder_page(bucket, key) if key.endswith("/") or not key else _build_s3_page("object", bucket, key)
        )


class OutputLink(AwsLink):
    """The output in S3: the location of an export once the service has returned it, otherwise the location in the request."""

    name = "Output in S3"
    members = ("output_location", "outputLocation", "output_config", "default_output_location")

    @classmethod
    def find_page(cls, facts: Facts) -> str:
        """Return the page of the folder."""
        bucket, key = facts.find_location(cls.members)
        return _build_folder_page(bucket, key) if bucket else ""


class ContainerLogsLink(AwsLink):
    """
    The CloudWatch log group of custom models in your account.

    The group has logs if your account has an ML configuration and the privacy configuration of the algorithm's association names it.
    """

    name = "CloudWatch logs"
    #: Log groups (user guide, custom-model-logs).
    groups: ClassVar[Mapping[str, str]] = {
        "trained model": "/aws/cleanroomsml/TrainedModels",
        "trained model inference job": "/aws/cleanroomsml/TrainedModelInferenceJobs",
    }

    @classmethod
    def applies_to(cls, task: type[Any]) -> bool:
        """Whether the class is about a resource with logs."""
        return task.resource is not None and task.resource.noun in cls.groups

    @classmethod
    def find_page(cls, facts: Facts) -> str:
        """Return the page of the log group; the console escapes the name twice, with ``$`` for ``%``."""
        group = cls.groups.get(facts.noun, "")
        name = quote(quote(group, safe=""), safe="").replace("%", "$")
        return f"cloudwatch/home?region={{region}}#logsV2:log-groups/log-group/{name}" if group else ""


class ServiceQuotaLink(AwsLink):
    """The exhausted quota in Service Quotas, once the service has refused a request because of it."""

    name = "Service quota"
    #: Operation, words in the quota's name, and the quota's code. AWS does not publish how ``quotaName`` spells the names, so words of the
    #: names in the user guide decide. Codes of audience models, generation jobs and training jobs per membership: user guide, Quotas; the
    #: others: a public monitor of quotas that has the same three, not tried on AWS.
    codes: ClassVar[tuple[tuple[str, tuple[str, ...], str], ...]] = (
        ("CreateAudienceModel", ("progress",), "L-11056252"),
        ("StartAudienceGenerationJob", ("progress",), "L-2396565D"),
        ("StartAudienceExportJob", ("progress",), "L-907EBCEA"),
        ("CreateMLInputChannel", ("channel", "membership"), "L-F2D3388D"),
        ("CreateTrainedModel", ("progress", "account"), "L-007D6EC0"),
        ("CreateTrainedModel", ("progress", "membership"), "L-F6FC5155"),
        ("CreateTrainedModel", ("version",), "L-BE951A3C"),
        ("StartTrainedModelInferenceJob", ("progress", "account"), "L-249F4B83"),
        ("StartTrainedModelInferenceJob", ("progress", "membership"), "L-0F77DDDB"),
    )

    @classmethod
    def applies_to(cls, task: type[Any]) -> bool:
        """Whether the class creates or starts something; it is not known under which name Service Quotas has ``cleanrooms``."""
        operation: str = task.operation
        return operation.startswith(("create_", "start_")) and task.service == CLEAN_ROOMS_ML

    @classmethod
    def find_page(cls, facts: Facts) -> str:
        """Return the page of the quota, or of the list."""
        if facts.error is None:
            return ""
        name, operation = str(facts.error.details.get("quotaName", "")).lower(), facts.error.operation
        found = [code for each, words, code in cls.codes if each == operation and all(word in name for word in words)]
        return "/".join(["servicequotas/home/services/cleanrooms-ml/quotas", *found[:1]])


class DocumentationLink(AwsLink):
    """The reference of the operator or sensor in this documentation, if the installed package has its address in its metadata."""

    name = "Documentation"

    @classmethod
    def applies_to(cls, task: type[Any]) -> bool:
        """Whether the class has a reference, as all have."""
        return issubclass(task, BaseOperator)

    @classmethod
    def find_page(cls, facts: Facts) -> str:
        """Return the URL; ``pyproject.toml`` declares where it begins."""
        from importlib.metadata import PackageNotFoundError, metadata

        if not facts.reference:
            return ""
        try:
            urls = metadata("airflow-provider-cleanroomsml").get_all("Project-URL") or []
        except PackageNotFoundError:
            return ""
        # The address is declared in pyproject.toml alone, so a fork that changes it there has its own links.
        base = next((url for label, _, url in (each.partition(", ") for each in urls) if label == cls.name), "")
        return f"{base.rstrip('/')}/{facts.reference}" if base else ""


def describe_logs(noun: str) -> str:
    """
    Return where the logs of a custom model's container are, a sentence; empty if the resource has no container.

    :param noun: The kind of resource.
    """
    group = ContainerLogsLink.groups.get(noun)
    return f"Logs of the container, if your account receives them: CloudWatch log group {group}." if group else ""


#: One of each, in the order of the buttons.
LINKS: tuple[AwsLink, ...] = (
    CollaborationLink(),
    InputLink(),
    OutputLink(),
    ContainerLogsLink(),
    ServiceQuotaLink(),
    ApiReferenceLink(),
    DocumentationLink(),
)


def choose_links(task: type[Any]) -> tuple[BaseOperatorLink, ...]:
    """Return the links that tasks of a class can have."""
    found = tuple(link for link in LINKS if link.applies_to(task))
    return (*found, *DETAILS_LINKS) if task.has_details else found


def _build_folder_page(bucket: str, key: str) -> str:
    return _build_s3_page("buckets", bucket, key if key.endswith("/") or not key else f"{key}/")


def _build_s3_page(kind: str, bucket: str, key: str) -> str:
    return f"s3/{kind}/{bucket}?region={{region}}" + (f"&prefix={quote(key)}" if key else "")
