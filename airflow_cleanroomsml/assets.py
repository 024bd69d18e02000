"""
Resources of Clean Rooms ML as Airflow assets: their URIs, and what the events of a task's outlets contain.

The URI of a resource is its ARN in another spelling: ``cleanroomsml://us-east-1/123456789012/configured-audience-model/…`` for
``arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/…``. Airflow 2.11 calls an asset a dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow_cleanroomsml._requests.arns import REGION_ENDING

if TYPE_CHECKING:
    from airflow.sdk import Asset
    from openlineage.client.event_v2 import Dataset

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._resources.data_flow import Data, DataFlow

__all__ = [
    "SCHEME",
    "build_arn",
    "build_event_template",
    "build_uri",
    "convert_asset_to_openlineage",
    "create_asset",
    "sanitize_uri",
]

#: The scheme of the URIs.
SCHEME = "cleanroomsml"

# The shape TaggableArn of the service model lists the kinds of resources that have an ARN.
_KINDS = ("training-dataset", "audience-model", "configured-audience-model", "audience-generation-job")
_MEMBERS_KINDS = ("ml-input-channel", "trained-model", "trained-model-inference-job")
_ALGORITHM_KINDS = ("configured-model-algorithm", "configured-model-algorithm-association")
_RESOURCE = re.compile(
    rf"({'|'.join((*_KINDS, _ALGORITHM_KINDS[0]))}|membership/[0-9a-f-]{{36}}/({'|'.join((*_MEMBERS_KINDS, _ALGORITHM_KINDS[1]))}))"
    r"/[-a-zA-Z0-9_/.]+"
)
_REGION, _ACCOUNT = re.compile(rf"[a-z]{{2,5}}(-[a-z]+)?{REGION_ENDING}"), re.compile(r"[0-9]{12}")
_FORM = f"{SCHEME}://{{region}}/{{account}}/{{kind}}/{{id}}"
#: Partitions of AWS other than ``aws``, by the beginning of their regions' names (botocore's ``partitions.json``).
_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eusc-": "aws-eusc",
}


def build_uri(arn: str) -> str:
    """
    Return the asset URI of a resource.

    :param arn: Its ARN.
    :raises ValueError: It is not the ARN of a resource of Clean Rooms ML.
    """
    from airflow_cleanroomsml._requests.arns import parse_arn

    parsed = parse_arn(str(arn))
    if parsed is None or parsed.service != "cleanrooms-ml" or not str(arn).isprintable():
        raise ValueError(
            f"{arn!r} is not an ARN of Clean Rooms ML, which has the form arn:aws:cleanrooms-ml:{{region}}:{{account}}:{{kind}}/{{id}}"
        )
    uri = f"{SCHEME}://{parsed.region}/{parsed.account}/{parsed.resource}"
    sanitize_uri(urlsplit(uri))
    return uri


def build_arn(uri: str) -> str:
    """
    Return the ARN of the resource that an asset URI identifies.

    :param uri: The URI.
    :raises ValueError: It is not a URI of this scheme.
    """
    parts = sanitize_uri(urlsplit(uri))
    # The URI has no partition, which follows from the region; so an asset has the same form in all partitions.
    _, account, resource = parts.path.split("/", 2)
    partition = next((name for start, name in _PARTITIONS.items() if parts.netloc.startswith(start)), "aws")
    return f"arn:{partition}:cleanrooms-ml:{parts.netloc}:{account}:{resource}"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Check an asset URI; Airflow calls this for every asset with the scheme.

    :param uri: Its parts.
    :raises ValueError: It is not valid; the message says what is wrong.
    """
    # Airflow calls this while it parses a Dag file, so the message is all that its author sees.
    text = uri.geturl()
    _, _, path = uri.path.partition("/")
    account, _, resource = path.partition("/")
    if uri.scheme != SCHEME:
        reason = f"the scheme must be {SCHEME}"
    elif not _REGION.fullmatch(uri.netloc):
        reason = f"{uri.netloc!r} is not an AWS region"
    elif not _ACCOUNT.fullmatch(account):
        reason = f"{account!r} is not an AWS account ID of 12 digits"
    elif not _RESOURCE.fullmatch(resource):
        kinds = ", ".join((*_KINDS, *_MEMBERS_KINDS, *_ALGORITHM_KINDS))
        reason = f"{resource!r} is not the resource part of an ARN; known kinds: {kinds}"
    elif uri.query or uri.fragment:
        reason = "it must have neither a query nor a fragment"
    else:
        return uri
    raise ValueError(f"{text} is not valid: {reason}. The form is {_FORM}.")


def create_asset(*, arn: str, extra: dict[str, Any] | None = None) -> Asset:
    """
    Create the asset of a resource.

    :param arn: Its ARN.
    :param extra: Values that Airflow stores with the asset.
    :raises ValueError: It is not the ARN of a resource of Clean Rooms ML.
    """
    return _make_asset(build_uri(arn), extra)


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """Convert an asset of this scheme to OpenLineage's dataset of the resource; Airflow's OpenLineage provider calls it."""
    from openlineage.client.event_v2 import Dataset

    from airflow_cleanroomsml._resources.data_flow import ServiceResource, name_resource

    namespace, name = name_resource(ServiceResource(build_arn(asset.uri)))
    return Dataset(namespace=namespace, name=name)


def build_event_template(key: str, default: str = "") -> str:
    """
    Return a template of a value in the asset event that triggered the run; the newest event if there are several.

    It works in Airflow 2.11 and in 3.x, which have the events under different names.

    :param key: Key in the event's ``extra``.
    :param default: Jinja expression for a run that no event triggered, for instance ``params.audience_model_arn``; without it such a run
        fails to render the template.
    """
    # Events of an asset may come from tasks that write other keys, hence select('defined').
    events = "(triggering_asset_events | default(triggering_dataset_events)).values() | sum(start=[])"
    values = f"{events} | sort(attribute='timestamp') | map(attribute='extra.{key}') | select('defined') | list"
    return f"{{{{ ({values} or [{default}]) | last }}}}"


def fill_events(context: Context, outlets: Iterable[Any], flow: DataFlow) -> None:
    """
    Fill the events of a task's outlets, which Airflow records when the task has succeeded.

    The event of an asset receives the members of the task's resource as ``extra``. An alias receives an event of the asset that the task
    has written, and none if it has written nothing.

    :param outlets: The outlets of the task: assets, aliases, and others, which are ignored.
    """
    events = context.get("outlet_events")
    if events is None:
        return
    from airflow_cleanroomsml._compat import find_asset_alias_class, find_asset_classes

    extra = flow.public_members
    for outlet in outlets:
        if isinstance(outlet, find_asset_classes()):
            events[outlet].extra.update(extra)
        elif isinstance(outlet, find_asset_alias_class()):
            for uri in map(_find_uri, flow.outputs[:1]):
                events[outlet].add(_make_asset(uri), extra=extra)


def _find_uri(data: Data) -> str:
    from airflow_cleanroomsml._resources.data_flow import GlueTable, S3Location

    if isinstance(data, S3Location):
        return data.uri
    # Airflow has no scheme for Glue, and a name that is not a URI is an asset, too.
    if isinstance(data, GlueTable):
        return f"{data.catalog}/{data.database}.{data.table}" if data.catalog else f"{data.database}.{data.table}"
    try:
        return build_uri(data.arn)
    except ValueError:
        # A resource of Clean Rooms, or of a kind that is newer than this release.
        return data.arn


def _make_asset(uri: str, extra: dict[str, Any] | None = None) -> Asset:
    from airflow_cleanroomsml._compat import find_asset_classes

    asset: type[Asset] = find_asset_classes()[0]
    return asset(uri=uri, extra=extra)
