"""The check of a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.role import JobRole, check_role_of_seed
from airflow_cleanroomsml._training_data.rules import Findings, InvalidDataError, Rule
from airflow_cleanroomsml._training_data.seed import read_seed

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: Bytes of a seed that a worker reads at most, some 500 for each of the 500,000 user ids that are allowed. AWS documents no limit.
_MOST_SEED_BYTES = 256 * 1024**2
_SQL_REMEDY = "run the query yourself and count its users"


def check_seed(hook: CleanRoomsMLHook, arguments: Mapping[str, Any], findings: Findings) -> tuple[str, dict[str, Any]]:
    """
    Check a seed and its role.

    :param hook: Hook with the clients.
    :param arguments: The checked arguments of the operator.
    :param findings: Collects findings.
    :return: What was checked, in words, and the number of users.
    """
    seed = arguments["seed_audience"]
    s3, uri = hook.of("s3").conn, seed.get("dataSource", {}).get("s3Uri", "")
    users = _count_seed(s3, uri, arguments, findings) if uri else None
    if not uri:
        values = {"subject": "The users of a SQL seed", "reason": "they are not known before the query runs"}
        findings.add(Rule.NOT_CHECKED.build("sqlParameters", **values, remedy=_SQL_REMEDY))
    role = JobRole.build_for_new(seed["roleArn"], "audience-generation-job", s3.meta.region_name)
    check_role_of_seed(hook.of("iam").conn, role, uri, findings)
    return f"Seed {uri}" if uri else "SQL seed", {"users": users}


def _count_seed(s3: Any, uri: str, arguments: Mapping[str, Any], findings: Findings) -> int | None:
    try:
        rules = DataRules(min_seed=arguments["min_seed_size"])
        seed = read_seed(s3, uri, rules, findings, max_bytes=_MOST_SEED_BYTES)
    except InvalidDataError as error:
        findings.add(*error.findings)
        return None
    users, least = len(seed.ids), arguments.get("min_matching_seed_size", 0)
    if users < least:
        findings.add(Rule.SEED_CANNOT_MATCH.build("seedAudience", count=users, limit=least))
    if repeated := seed.lines - users:
        findings.add(Rule.SEED_REPEATS.build("s3Uri", count=repeated, lines=seed.lines))
    return users
