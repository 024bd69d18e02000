"""The fixtures of the suite that can run on a real account, and its report."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.aws import user
from tests.aws.account import Account, AwsAccount, EmulatedAccount
from tests.aws.created_resources import Bench, Sweep, sweep
from tests.aws.observations import Observation, Observer


@dataclass
class RealRun:
    """
    A run on a real account.

    :param id: What its names carry.
    :param account: The account.
    """

    account: AwsAccount
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    observations: list[Observation] = field(default_factory=list)
    sweep: Sweep = field(default_factory=Sweep)


_REAL = pytest.StashKey[RealRun]()


@pytest.fixture(scope="session")
def real_run(request: pytest.FixtureRequest) -> Iterator[RealRun]:
    """The run; at its end, whatever it has left is deleted."""
    with pytest.MonkeyPatch.context() as patch:
        user.give_back(patch)
        made = request.config.stash[_REAL] = RealRun(AwsAccount())
    yield made
    with pytest.MonkeyPatch.context() as patch:
        user.give_back(patch)
        made.sweep = sweep(made.id, user.given("MEMBERSHIP"))


@pytest.fixture(params=["emulator", "AWS"])
def account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Each test runs in the emulator, and on a real account where that is asked for."""
    if request.param == "emulator":
        return EmulatedAccount(request.getfixturevalue("world"))
    if reason := user.why_not(expensive=request.node.get_closest_marker("expensive") is not None):
        pytest.skip(reason)
    real: RealRun = request.getfixturevalue("real_run")
    user.give_back(monkeypatch)
    return real.account


@pytest.fixture
def bench(request: pytest.FixtureRequest, account: Account) -> Iterator[Bench]:
    """A place to work at; what is made there is deleted at the end."""
    run = request.getfixturevalue("real_run").id if account.real else secrets.token_hex(4)
    made = Bench(account, run)
    yield made
    made.clear()


@pytest.fixture
def observe(request: pytest.FixtureRequest, account: Account) -> Observer:
    """Takes note of what AWS documents nowhere."""
    return Observer(account, request.getfixturevalue("real_run").observations if account.real else [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was seen that no document tells, and what was left behind."""
    real = config.stash.get(_REAL, None)
    if real is None:
        return
    terminalreporter.section(f"What {real.account.title} does (please report what differs)")
    for seen in sorted(set(real.observations), key=lambda seen: (seen.seen == seen.assumption, seen.fact)):
        terminalreporter.write_line("\n".join(seen.lines(real.account.title)))
    terminalreporter.section(f"What run {real.id} left behind")
    for word, titles in vars(real.sweep).items():
        for title in titles:
            terminalreporter.write_line(f"{word}: {title}")
    if not any(vars(real.sweep).values()):
        terminalreporter.write_line("nothing")
