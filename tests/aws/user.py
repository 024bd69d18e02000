"""The user's AWS settings: saved before the tests remove them, and restored only for tests on a real account."""

from __future__ import annotations

import os

import pytest

SWITCH = "AIRFLOW_CLEANROOMSML_AWS"
#: What the tests require in addition to credentials and a region; the variable is SWITCH, an underscore, and the name.
REQUIREMENTS = {
    "ROLE_ARN": "a role of the account that cleanrooms-ml.amazonaws.com may assume",
    "GLUE_DATABASE": "a Glue database",
    "GLUE_TABLE": "a table of interactions in it",
    "BUCKET": "a bucket that the role may write to",
    "SEED_URI": "a seed in S3: JSON lines of user ids",
    "AUDIENCE_MODEL_ARN": "a trained audience model",
    "IMAGE_URI": "an image of a training container in ECR",
    "MEMBERSHIP": "a membership, a UUID",
}
_given: dict[str, str] = {}


def save_environment() -> None:
    """Save the environment variables that concern AWS."""
    _given.update({name: value for name, value in os.environ.items() if name.startswith(("AWS_", SWITCH))})


def read_requirement(name: str) -> str:
    """Return a resource of the account; skips the test if its variable is not set."""
    return read_variable(name) or pytest.skip(f"{SWITCH}_{name} is not set: {REQUIREMENTS[name]}")


def read_variable(name: str) -> str:
    """Return a resource of the account; empty if its variable is not set."""
    return _given.get(f"{SWITCH}_{name}", "")


def find_skip_reason(*, expensive: bool) -> str:
    """Return the reason not to run a test on a real account; empty if there is none."""
    switch = _given.get(SWITCH, "")
    if switch not in ("1", "expensive"):
        return f"{SWITCH} is {switch or 'not set'}: 1 runs it on a real account, see docs/real_account.md"
    if "PYTEST_XDIST_WORKER" in os.environ:
        return "on a real account the tests run in one process, without -n"
    if expensive and switch != "expensive":
        return f"it costs money: {SWITCH}=expensive runs it"
    return ""


def restore_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the environment variables that concern AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in _given.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    if "AWS_REGION" in _given:  # boto3 reads only the other one
        monkeypatch.setenv("AWS_DEFAULT_REGION", _given["AWS_REGION"])
