"""Parses ARNs and describes them in words: one of the wrong kind is a common mistake, and the pattern it does not match says little."""

from __future__ import annotations

import re
from typing import NamedTuple

#: How the names of all regions end: a direction and a number (``partitions.json`` of botocore 1.37 to 1.44).
REGION_ENDING = r"-(?:central|east|west|(?:north|south)(?:east|west)?)-[0-9]+"
#: Nouns that differ from the resource type in the ARN.
_NOUNS = {
    "analysistemplate": "analysis template",
    "configuredaudiencemodelassociation": "configured audience model association",
    "configuredtable": "configured table",
    "configuredtableassociation": "configured table association",
    "idmappingtable": "ID mapping table",
    "intermediatetable": "intermediate table",
    "ml-input-channel": "ML input channel",
}
#: Services whose ARNs contain a resource type, and the prefix of their nouns.
_SERVICES = {"cleanrooms": "", "cleanrooms-ml": "", "iam": "IAM ", "kms": "KMS "}
#: Character classes, escapes and repetitions of a pattern; what remains are its resource types.
_SYNTAX = re.compile(r"\[[^]]*\]|\\.|\{[^}]*\}")
_RESOURCE_TYPE = re.compile(r"[a-z]{2,}(?:-[a-z]+)*")
#: Precedes the resource type in ARNs of resources that belong to a membership.
_PARENT = "membership"


class Arn(NamedTuple):
    """The parts of an ARN (IAM user guide, reference-arns); region and account are empty where a service's ARNs have none."""

    partition: str
    service: str
    region: str
    account: str
    resource: str


def parse_arn(text: str) -> Arn | None:
    """Parse an ARN; None for any other text, such as an ARN that is cut off."""
    prefix, *parts = text.split(":", 5)
    if prefix != "arn" or len(parts) != len(Arn._fields):
        return None
    arn = Arn(*parts)
    return arn if arn.partition and arn.service and arn.resource else None


def describe_arn(arn: str) -> str:
    """Return what an ARN identifies, with its article, for instance "an audience model"; empty for anything else."""
    service, resource = _split_arn(arn)
    words = resource.split("/")
    resource_type = words[2] if words[0] == _PARENT and len(words) > 2 else words[0]
    return _describe_resource(service, resource_type) if service and _RESOURCE_TYPE.fullmatch(resource_type) else ""


def describe_pattern(pattern: str) -> list[str]:
    """Return what the ARNs that match a pattern identify; empty if the pattern does not tell."""
    service, resource = _split_arn(pattern)
    if not service or "arn:" in resource:
        return []
    resource_types = _RESOURCE_TYPE.findall(_SYNTAX.sub(" ", resource))
    return [_describe_resource(service, name) for name in resource_types if name != _PARENT]


def _split_arn(arn: str) -> tuple[str, str]:
    """Return service and resource of an ARN or of a pattern, in which they are literal; empty for other services."""
    parsed = parse_arn(arn)
    return (parsed.service, parsed.resource) if parsed and parsed.service in _SERVICES else ("", "")


def _describe_resource(service: str, resource_type: str) -> str:
    noun = _SERVICES[service] + _NOUNS.get(resource_type, resource_type.replace("-", " "))
    # "ML" begins with a vowel when it is spoken.
    return f"{'an' if noun.startswith(('a', 'i', 'I', 'ML')) else 'a'} {noun}"
