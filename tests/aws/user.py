"""The user's AWS set-up: kept aside before the tests remove it, and given back to those of a real account alone."""

from __future__ import annotations

import os

import pytest

SWITCH = "AIRFLOW_CLEANROOMSML_AWS"
#: What the tests need beside credentials and a region; the variable is SWITCH, an underscore, and the name.
NEEDED = {
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


def keep_aside() -> None:
    """Remember what the environment says of AWS."""
    _given.update({name: value for name, value in os.environ.items() if name.startswith(("AWS_", SWITCH))})


def needed(name: str) -> str:
    """A thing of the account; the test is skipped where its variable is missing."""
    return given(name) or pytest.skip(f"{SWITCH}_{name} is not set: {NEEDED[name]}")


def given(name: str) -> str:
    """A thing of the account, or nothing."""
    return _given.get(f"{SWITCH}_{name}", "")


def why_not(*, expensive: bool) -> str:
    """Why a test does not run on a real account, or nothing."""
    switch = _given.get(SWITCH, "")
    if switch not in ("1", "expensive"):
        return f"{SWITCH} is {switch or 'not set'}: 1 runs it on a real account, see docs/real_account.md"
    if "PYTEST_XDIST_WORKER" in os.environ:
        return "on a real account the tests run in one process, without -n"
    if expensive and switch != "expensive":
        return f"it costs money: {SWITCH}=expensive runs it"
    return ""


def give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the environment what it was, as far as AWS is concerned."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in _given.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    if "AWS_REGION" in _given:  # boto3 reads the other one only
        monkeypatch.setenv("AWS_DEFAULT_REGION", _given["AWS_REGION"])
