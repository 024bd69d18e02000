"""
The emulator as the AWS SDK for JavaScript sees it, which reads answers more strictly than boto3 does.

``nox -s javascript`` installs the SDK and runs these.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from tests.support import World

NODE_MODULES = "AIRFLOW_CLEANROOMSML_NODE_MODULES"
SCRIPTS = Path(__file__).parent / "javascript"
SERVICES = ("cleanroomsml", "cleanrooms")

pytestmark = pytest.mark.skipif(
    NODE_MODULES not in os.environ, reason="needs Node.js and packages that `nox -s javascript` installs"
)


def model(service: str) -> Any:
    return Loader().load_service_model(service, "service-2")


def run(script: str, given: dict[str, Any], folder: Path) -> Any:
    """What a script prints."""
    path = folder / "given.json"
    path.write_text(json.dumps(given))
    env = {"PATH": os.environ["PATH"], "NODE_MODULES": os.environ[NODE_MODULES]}
    done = subprocess.run(["node", SCRIPTS / script, path], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_both_services_are_read_without_complaint(world: World, tmp_path: Path) -> None:
    given = {
        "endpoint": world.emulator.url,
        "account": world.account,
        "partner": World(world.emulator).account,
        "role": world.role,
        "trainingData": world.build_training_data(),
        "outputConfig": world.output,
        "seedAudience": world.write_seed(),
        "model": model("cleanroomsml"),
    }
    read = run("calls.mjs", given, tmp_path)
    assert read["answers"] > 50
    assert read["dates"] > 80


def test_an_answer_of_every_operation_is_read_as_it_was_meant(tmp_path: Path) -> None:
    from airflow_cleanroomsml.emulator import wire
    from tests.emulator.test_wire import ALL, results, service_of

    meant = [(operation, result) for operation in ALL for result in results(operation)]
    answers = []
    for operation, result in meant:
        answer = wire.build_response(operation, result)
        of = {"service": service_of(operation), "operation": operation.name, "status": answer.status}
        answers.append({**of, "headers": _in_lower_case(answer.headers), "body": answer.body.decode()})
    found = run("answers.mjs", {"models": {each: model(each) for each in SERVICES}, "answers": answers}, tmp_path)
    for (operation, result), read in zip(meant, found, strict=True):
        assert (operation.name, _rounded(_decoded(read))) == (operation.name, {"members": _rounded(result)})


def _in_lower_case(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["date"]:
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=value["date"])
    return {key: _decoded(item) for key, item in value.items()}


def _rounded(value: Any) -> Any:
    """The same in numbers that JavaScript has: all of them are doubles."""
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
