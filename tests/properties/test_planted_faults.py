"""The machine can fail: each of these faults of the implementation is found."""

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
from tests.properties.state_machine import machine_in


def sent_again(create_once: CreateOnce, error: Exception) -> Handle:
    return create_once.send_once()


def without_suffix(candidate: str, name: str, limit: int) -> int | None:
    return 1 if candidate == name else None


def always(*_: Any) -> bool:
    return True


def never(*_: Any) -> bool:
    return False


def nothing(*_: Any) -> Iterator[Owned]:
    return iter(())


#: How often the search begins anew.
STARTS = 200
#: All of these faults show in it, and with other kinds mixed in the search takes five times as long. Without a fault nothing is found.
KIND = "audience model"


@dataclass(frozen=True)
class Fault:
    """
    A fault of the implementation.

    :param replaced: What is replaced, and by what.
    :param found: What the machine says of it.
    """

    replaced: tuple[tuple[Any, str, Any], ...]
    found: str


FAULTS = {
    "a lost create is sent again without a look": Fault(
        ((CreateOnce, "_resolve_unknown_outcome", sent_again),), "more than one"
    ),
    "names with a suffix are not looked for": Fault(
        ((owned, "parse_retry_number", without_suffix), (previous_tries, "parse_retry_number", without_suffix)),
        "more than one|no reason|not the same",
    ),
    "tags are not compared": Fault(((Claim, "is_of_run", always), (Claim, "is_same", always)), "not its own"),
    "the request is not compared": Fault(((claim, "compute_fingerprint", lambda _: "0" * 16),), "not its own"),
    "a retry compares the request": Fault(((Claim, "is_of_sequence", never),), "more than one"),
    "tries before a clear are not told from those after it": Fault(
        ((Claim, "is_of_sequence", Claim.is_of_run),), "not its own"
    ),
    "a retry looks only for the name that it asks for": Fault(
        ((OwnedSearch, "find_elsewhere", nothing),), "more than one|not the same"
    ),
    "what was lost is looked for once": Fault(((previous_tries, "COMMIT_LAG", ()),), "more than one"),
}


def complaint(laboratory: Laboratory) -> str:
    """
    What the machine says is wrong; empty if nothing is.

    Hypothesis varies what it has tried. Starting anew after fifteen examples finds these faults several times faster.
    """
    for start in range(STARTS):
        try:
            run_state_machine_as_test(seed(start)(machine_in(laboratory, KIND)), settings=PLANTED)
        except AssertionError as error:
            return str(error)
    return ""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", FAULTS)
def test_the_machine_finds_what_is_planted(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for place, attribute, replacement in FAULTS[name].replaced:
        monkeypatch.setattr(place, attribute, replacement)
    assert re.search(FAULTS[name].found, complaint(laboratory))
