"""Fixtures and report of the tests that can run on a real account."""

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

    :param id: Part of the names of its resources.
    :param account: The account.
    """

    account: AwsAccount
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    observations: list[Observation] = field(default_factory=list)
    sweep: Sweep = field(default_factory=Sweep)


_REAL = pytest.StashKey[RealRun]()


@pytest.fixture(scope="session")
def real_run(request: pytest.FixtureRequest) -> Iterator[RealRun]:
    """The run; resources that it left behind are deleted at the end."""
    with pytest.MonkeyPatch.context() as patch:
        user.restore_environment(patch)
        run = request.config.stash[_REAL] = RealRun(AwsAccount())
    yield run
    with pytest.MonkeyPatch.context() as patch:
        user.restore_environment(patch)
        run.sweep = sweep(run.id, user.read_variable("MEMBERSHIP"))


@pytest.fixture(params=["emulator", "AWS"])
def account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Each test runs in the emulator, and on a real account if the user enables it."""
    if request.param == "emulator":
        return EmulatedAccount(request.getfixturevalue("world"))
    if reason := user.find_skip_reason(expensive=request.node.get_closest_marker("expensive") is not None):
        pytest.skip(reason)
    real: RealRun = request.getfixturevalue("real_run")
    user.restore_environment(monkeypatch)
    return real.account


@pytest.fixture
def bench(request: pytest.FixtureRequest, account: Account) -> Iterator[Bench]:
    """Creates resources, and deletes them at the end of the test."""
    run = request.getfixturevalue("real_run").id if account.real else secrets.token_hex(4)
    bench = Bench(account, run)
    yield bench
    bench.clear()


@pytest.fixture
def observe(request: pytest.FixtureRequest, account: Account) -> Observer:
    """Records behaviour that AWS does not document."""
    return Observer(account, request.getfixturevalue("real_run").observations if account.real else [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Report undocumented behaviour and the resources that were left behind."""
    real = config.stash.get(_REAL, None)
    if real is None:
        return
    terminalreporter.section(f"What {real.account.title} does (please report what differs)")
    for seen in sorted(set(real.observations), key=lambda seen: (seen.seen == seen.assumption, seen.fact)):
        terminalreporter.write_line("\n".join(seen.format_lines(real.account.title)))
    terminalreporter.section(f"What run {real.id} left behind")
    for word, titles in vars(real.sweep).items():
        for title in titles:
            terminalreporter.write_line(f"{word}: {title}")
    if not any(vars(real.sweep).values()):
        terminalreporter.write_line("nothing")
