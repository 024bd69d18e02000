"""
Which IAM actions a request needs.

An action has the name of its operation, with few exceptions. Which requests need more is listed in the service authorization references of
Clean Rooms ML and of Clean Rooms; the user guide adds what custom models need for a membership or a collaboration (ml-behaviors-byom), and
what a generation job needs in a collaboration (security-iam-awsmanpol).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML

if TYPE_CHECKING:
    from botocore.model import OperationModel

#: Prefixes of actions, by boto3's names of the services.
PREFIXES = {CLEAN_ROOMS_ML: "cleanrooms-ml", CLEAN_ROOMS: "cleanrooms"}
PASS_ROLE = "iam:PassRole"
#: The service that roles are passed to, the value of ``iam:PassedToService``.
PASSED_TO = "cleanrooms-ml.amazonaws.com"
#: Permissions that no operation has the name of, by the members of requests of Clean Rooms ML that need them.
PASSED = {
    "membershipIdentifier": "cleanrooms:PassMembership",
    "collaborationIdentifier": "cleanrooms:PassCollaboration",
}
#: Actions that are not spelled as their operations are.
SPELLED = {"cleanrooms-ml:UntagResource": "cleanrooms-ml:UnTagResource"}
_POLICY = "cleanrooms-ml:{}ConfiguredAudienceModelPolicy"
#: To add a statement to the policy of a configured audience model that Clean Rooms manages, and to remove it.
ADD_STATEMENT = tuple(map(_POLICY.format, ("Get", "Put")))
REMOVE_STATEMENT = (*ADD_STATEMENT, _POLICY.format("Delete"))


class Permission(NamedTuple):
    """
    An action, and the resource that it is for.

    :param action: For instance ``cleanrooms-ml:CreateAudienceModel``.
    :param resource: ARN, or ``*`` where the request does not name one.
    """

    action: str
    resource: str = "*"


def required_permissions(operation: OperationModel, members: Mapping[str, Any]) -> list[Permission]:
    """
    The permissions that the caller of an operation needs.

    :param members: Members of the request in the API's own spelling.
    """
    service, name = operation.service_model.service_name, operation.name
    own, tag = f"{PREFIXES[service]}:{name}", f"{PREFIXES[service]}:TagResource"
    found = [Permission(SPELLED.get(own, own), str(members.get("resourceArn", "*")))]
    if members.get("tags") and own != tag:
        found.append(Permission(tag))
    found += [Permission(PASS_ROLE, role) for role in _roles(members)]
    if service == CLEAN_ROOMS_ML:
        found += [Permission(action) for member, action in PASSED.items() if members.get(member)]
    return found + [Permission(action) for action in _further(name, members)]


def _further(operation: str, members: Mapping[str, Any]) -> Iterator[str]:
    if operation == "StartAudienceGenerationJob" and members.get("collaborationId"):
        yield "cleanrooms:ListMembers"
    if operation == "CreateConfiguredAudienceModelAssociation":
        yield "cleanrooms-ml:GetConfiguredAudienceModel"
        yield from ADD_STATEMENT if members.get("manageResourcePolicies") else ()


def _roles(value: Any) -> Iterator[str]:
    """The roles in a request, at any depth."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name == "roleArn" and isinstance(item, str):
                yield item
            else:
                yield from _roles(item)
    elif isinstance(value, list):
        for item in value:
            yield from _roles(item)
