"""The pytest plugin: the fixture ``cleanroomsml``, an emulator of Clean Rooms ML for a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_cleanroomsml.testing import RunningEmulator

# pytest loads this module in every run, so it imports nothing that a fixture does not need yet.


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("cleanroomsml", "emulator of AWS Clean Rooms ML")
    group.addoption(
        "--cleanroomsml-emulator-url",
        metavar="URL",
        help="URL of a running emulator for the cleanroomsml fixture, which resets it before each test; "
        "by default, the test process starts its own",
    )
    parser.addini("cleanroomsml_emulator_url", "the same as --cleanroomsml-emulator-url", default="")
    parser.addini("cleanroomsml_account", "AWS account of the cleanroomsml fixture, 12 digits", default="")
    parser.addini("cleanroomsml_partner_account", "AWS account of the partner, 12 digits", default="")
    parser.addini("cleanroomsml_region", "AWS region of the cleanroomsml fixture", default="")


@contextmanager
def _fail_without_traceback() -> Iterator[None]:
    """Let a test fail with the message of an emulator that cannot be used; the code that raises it is not the user's."""
    from airflow_cleanroomsml.testing import EmulatorError

    try:
        yield
    except EmulatorError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _read_account(config: pytest.Config, option: str, default: str) -> str:
    account: str = config.getini(option) or default
    if not re.fullmatch("[0-9]{12}", account):
        pytest.fail(f"{option} is {account!r}; must be 12 digits", pytrace=False)
    return account


@pytest.fixture(scope="session")
def _cleanroomsml_emulator(request: pytest.FixtureRequest) -> Iterator[RunningEmulator]:
    """The emulator of all tests of this process."""
    from airflow_cleanroomsml.testing import running_emulator

    config = request.config
    url: str = config.getoption("--cleanroomsml-emulator-url") or config.getini("cleanroomsml_emulator_url")
    if url and hasattr(config, "workerinput"):
        pytest.fail(
            f"The workers of pytest-xdist cannot share the emulator at {url}, because each test resets it. "
            "Run without -n, or without a URL: then each worker starts its own emulator.",
            pytrace=False,
        )
    arguments = (
        _read_account(config, "cleanroomsml_account", running_emulator.ACCOUNT),
        _read_account(config, "cleanroomsml_partner_account", running_emulator.PARTNER),
        config.getini("cleanroomsml_region") or running_emulator.REGION,
    )
    with _fail_without_traceback(), ExitStack() as stack:
        endpoint_url = url or stack.enter_context(running_emulator.serve())
        yield running_emulator.RunningEmulator(endpoint_url, *arguments)


@pytest.fixture
def cleanroomsml(_cleanroomsml_emulator: RunningEmulator) -> Iterator[RunningEmulator]:
    """
    An emulator of AWS Clean Rooms ML, empty at the beginning of the test.

    boto3 and the Airflow connection ``aws_default`` point to it; see :class:`airflow_cleanroomsml.testing.RunningEmulator`.
    """
    with _fail_without_traceback(), _cleanroomsml_emulator.use() as running:
        yield running
