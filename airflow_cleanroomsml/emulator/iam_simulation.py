"""IAM's SimulatePrincipalPolicy, which moto does not have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from airflow_cleanroomsml._requests.arns import parse_arn
from airflow_cleanroomsml._training_data.policy_elements import list_statements, matches_element
from airflow_cleanroomsml.emulator import _compat

_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
_RESPONSE = (
    '<SimulatePrincipalPolicyResponse xmlns="{namespace}"><SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated>'
    "<EvaluationResults>{results}</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
)
_RESULT = (
    "<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{resource}</EvalResourceName>"
    "<EvalDecision>{decision}</EvalDecision></member>"
)
_ERROR = (
    '<ErrorResponse xmlns="{namespace}"><Error><Type>Sender</Type><Code>{code}</Code>'
    "<Message>{message}</Message></Error></ErrorResponse>"
)


def is_simulation(body: bytes) -> bool:
    """Return whether the body of a request to IAM is one of SimulatePrincipalPolicy."""
    return b"Action=SimulatePrincipalPolicy" in body


def simulate(account: str, body: bytes) -> tuple[int, bytes]:
    """
    Evaluate the policies of a role for each action and resource.

    :param account: Account of the caller.
    :param body: Body of the request.
    :return: Status and body of the response.
    """
    form = {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}
    text = form.get("PolicySourceArn", "")
    arn = parse_arn(text)
    if arn is None or not arn.account:
        return 400, _build_error("InvalidInput", f"PolicySourceArn is {text!r}; must be the ARN of a role.")
    role = _compat.find_role(account, arn.partition, text.rpartition("/")[2])
    if role is None:
        return 404, _build_error("NoSuchEntity", f"The role {text} cannot be found.")
    statements = [statement for policy in _compat.list_role_policies(role) for statement in list_statements(policy)]
    results = "".join(
        _RESULT.format(action=escape(action), resource=escape(resource), decision=_decide(statements, action, resource))
        for action in _list_members(form, "ActionNames")
        for resource in _list_members(form, "ResourceArns") or ["*"]
    )
    return 200, _RESPONSE.format(namespace=_NAMESPACE, results=results).encode()


def _build_error(code: str, message: str) -> bytes:
    return _ERROR.format(namespace=_NAMESPACE, code=code, message=escape(message)).encode()


def _list_members(form: Mapping[str, str], name: str) -> list[str]:
    return [value for key, value in form.items() if key.startswith(f"{name}.member.")]


def _decide(statements: list[dict[str, Any]], action: str, resource: str) -> str:
    matching = [
        statement
        for statement in statements
        if matches_element(statement, "Action", action, re.IGNORECASE)
        and matches_element(statement, "Resource", resource)
    ]
    if any(statement.get("Effect") == "Deny" for statement in matching):
        return "explicitDeny"
    # Conditions are not evaluated: they count as met in a Deny and as not met in an Allow, as docs/assumptions.md says.
    allowed = any(statement.get("Effect") == "Allow" and not statement.get("Condition") for statement in matching)
    return "allowed" if allowed else "implicitDeny"
