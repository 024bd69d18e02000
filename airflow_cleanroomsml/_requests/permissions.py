"""
Determines the IAM actions that a request needs.

With few exceptions, an action has the name of its operation. Further actions are those of the service authorization references of Clean
Rooms ML and Clean Rooms; the user guide adds actions for custom models in a membership or a collaboration (ml-behaviors-byom), and for
generation jobs in a collaboration (security-iam-awsmanpol).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML

if TYPE_CHECKING:
    from botocore.model import OperationModel

#: Prefixes of actions by boto3's name of the service.
PREFIXES = {CLEAN_ROOMS_ML: "cleanrooms-ml", CLEAN_ROOMS: "cleanrooms"}
PASS_ROLE = "iam:PassRole"
#: Service that roles are passed to: the value of the condition key ``iam:PassedToService``.
PASSED_TO = "cleanrooms-ml.amazonaws.com"
#: Actions without an operation, by the member of a Clean Rooms ML request that needs them (user guide, ml-behaviors-byom).
PASS_ACTIONS = {
    "membershipIdentifier": "cleanrooms:PassMembership",
    "collaborationIdentifier": "cleanrooms:PassCollaboration",
}
#: Actions spelled differently from their operation (service authorization reference).
IRREGULAR_ACTIONS = {"cleanrooms-ml:UntagResource": "cleanrooms-ml:UnTagResource"}
_POLICY = "cleanrooms-ml:{}ConfiguredAudienceModelPolicy"
#: Actions for adding a statement to a policy of a configured audience model that Clean Rooms manages, and for removing it.
ADD_STATEMENT = tuple(map(_POLICY.format, ("Get", "Put")))
REMOVE_STATEMENT = (*ADD_STATEMENT, _POLICY.format("Delete"))


class Permission(NamedTuple):
    """
    An action on a resource.

    :param action: For instance ``cleanrooms-ml:CreateAudienceModel``.
    :param resource: ARN; ``*`` if the request does not contain it.
    """

    action: str
    resource: str = "*"


def list_permissions(operation: OperationModel, members: Mapping[str, Any]) -> list[Permission]:
    """
    List the permissions that the caller of an operation needs.

    :param members: Members of the request in the API's own spelling.
    """
    service, name = operation.service_model.service_name, operation.name
    own, tag = f"{PREFIXES[service]}:{name}", f"{PREFIXES[service]}:TagResource"
    permissions = [Permission(IRREGULAR_ACTIONS.get(own, own), str(members.get("resourceArn", "*")))]
    if members.get("tags") and own != tag:
        permissions.append(Permission(tag))
    permissions += [Permission(PASS_ROLE, role) for role in _find_roles(members)]
    if service == CLEAN_ROOMS_ML:
        permissions += [Permission(action) for member, action in PASS_ACTIONS.items() if members.get(member)]
    return permissions + [Permission(action) for action in _list_further_actions(name, members)]


def list_actions(operation: OperationModel, members: Mapping[str, Any]) -> list[str]:
    """List the actions of :func:`list_permissions`, each one once."""
    return list(dict.fromkeys(permission.action for permission in list_permissions(operation, members)))


def _list_further_actions(operation: str, members: Mapping[str, Any]) -> Iterator[str]:
    if operation == "StartAudienceGenerationJob" and members.get("collaborationId"):
        yield "cleanrooms:ListMembers"
    if operation == "CreateConfiguredAudienceModelAssociation":
        yield "cleanrooms-ml:GetConfiguredAudienceModel"
        yield from ADD_STATEMENT if members.get("manageResourcePolicies") else ()


def _find_roles(value: Any) -> Iterator[str]:
    """Yield the roles in a request, at any depth."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name == "roleArn" and isinstance(item, str):
                yield item
            else:
                yield from _find_roles(item)
    elif isinstance(value, list):
        for item in value:
            yield from _find_roles(item)
