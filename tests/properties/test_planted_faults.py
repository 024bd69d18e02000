"""The state machine finds each of these bugs, which the tests plant in the implementation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from airflow_cleanroomsml._idempotency import claim, owned, previous_tries
from airflow_cleanroomsml._idempotency.claim import Claim
from airflow_cleanroomsml._idempotency.create_once import CreateOnce
from airflow_cleanroomsml._idempotency.owned import Owned, OwnedSearch
from airflow_cleanroomsml._resources.handle import Handle
from tests.properties.examples import PLANTED
from tests.properties.observed_emulator import Laboratory
from tests.properties.state_machine import build_machine


def resend(create_once: CreateOnce, error: Exception) -> Handle:
    return create_once.send_once()


def parse_base_name_only(candidate: str, name: str, limit: int) -> int | None:
    return 1 if candidate == name else None


def return_true(*_: Any) -> bool:
    return True


def return_false(*_: Any) -> bool:
    return False


def find_nothing(*_: Any) -> Iterator[Owned]:
    return iter(())


#: Number of seeds to try.
SEEDS = 200
#: The kind of resource of all examples. It shows all these bugs, and with other kinds mixed in, the search takes five times as long.
#: Without a planted bug, the machine finds nothing.
KIND = "audience model"


@dataclass(frozen=True)
class Bug:
    """
    A bug of the implementation.

    :param patches: The attributes to replace: owner, name and replacement.
    :param failure: Pattern of the assertion message with which the machine must fail.
    """

    patches: tuple[tuple[Any, str, Any], ...]
    failure: str


BUGS = {
    "sends a lost create again without a search": Bug(
        ((CreateOnce, "_resolve_unknown_outcome", resend),), "more than one"
    ),
    "does not search for retry names": Bug(
        (
            (owned, "parse_retry_number", parse_base_name_only),
            (previous_tries, "parse_retry_number", parse_base_name_only),
        ),
        "more than one|no reason|not the same",
    ),
    "does not compare tags": Bug(((Claim, "is_of_run", return_true), (Claim, "is_same", return_true)), "not its own"),
    "does not compare requests": Bug(((claim, "compute_fingerprint", lambda _: "0" * 16),), "not its own"),
    "compares requests on a retry": Bug(((Claim, "is_of_sequence", return_false),), "more than one"),
    "ignores that the task was cleared": Bug(((Claim, "is_of_sequence", Claim.is_of_run),), "not its own"),
    "searches only for the requested name on a retry": Bug(
        ((OwnedSearch, "find_elsewhere", find_nothing),), "more than one|not the same"
    ),
    "searches only once for a lost create": Bug(((previous_tries, "COMMIT_LAG", ()),), "more than one"),
}


def find_violation(laboratory: Laboratory) -> str:
    """
    Run the machine until an invariant fails; return the message, or an empty string if none fails.

    Hypothesis mutates its earlier examples. A new seed after every fifteen examples finds these bugs several times faster.
    """
    for number in range(SEEDS):
        try:
            run_state_machine_as_test(seed(number)(build_machine(laboratory, KIND)), settings=PLANTED)
        except AssertionError as error:
            return str(error)
    return ""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("bug", [pytest.param(bug, id=name) for name, bug in BUGS.items()])
def test_machine_finds_planted_bug(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, bug: Bug) -> None:
    for owner, name, replacement in bug.patches:
        monkeypatch.setattr(owner, name, replacement)
    assert re.search(bug.failure, find_violation(laboratory))
