"""
The AWS SDK for JavaScript, which parses responses more strictly than boto3 does, understands the emulator.

``nox -s javascript`` installs the SDK and runs these tests.
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


def load_model(service: str) -> Any:
    return Loader().load_service_model(service, "service-2")


def run_script(script: str, arguments: dict[str, Any], folder: Path) -> Any:
    """Run a script and return what it prints."""
    path = folder / "arguments.json"
    path.write_text(json.dumps(arguments))
    env = {"PATH": os.environ["PATH"], "NODE_MODULES": os.environ[NODE_MODULES]}
    completed = subprocess.run(["node", SCRIPTS / script, path], env=env, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


def test_sdk_parses_responses_of_both_services(world: World, tmp_path: Path) -> None:
    arguments = {
        "endpoint": world.emulator.url,
        "account": world.account,
        "partner": World(world.emulator).account,
        "role": world.role,
        "trainingData": world.build_training_data(),
        "outputConfig": world.output,
        "seedAudience": world.write_seed(),
        "model": load_model("cleanroomsml"),
    }
    read = run_script("calls.mjs", arguments, tmp_path)
    assert read["answers"] > 50
    assert read["dates"] > 80


def test_sdk_parses_results_of_every_operation(tmp_path: Path) -> None:
    from airflow_cleanroomsml.emulator import wire
    from tests.emulator.test_wire import ALL, results, service_of

    expected = [(operation, result) for operation in ALL for result in results(operation)]
    answers = []
    for operation, result in expected:
        response = wire.build_response(operation, result)
        metadata = {"service": service_of(operation), "operation": operation.name, "status": response.status}
        answers.append({**metadata, "headers": _lower_names(response.headers), "body": response.body.decode()})
    parsed = run_script(
        "answers.mjs", {"models": {each: load_model(each) for each in SERVICES}, "answers": answers}, tmp_path
    )
    for (operation, result), read in zip(expected, parsed, strict=True):
        assert (operation.name, _convert_to_floats(_decode_dates(read))) == (
            operation.name,
            {"members": _convert_to_floats(result)},
        )


def _lower_names(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _decode_dates(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode_dates(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["date"]:
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=value["date"])
    return {key: _decode_dates(item) for key, item in value.items()}


def _convert_to_floats(value: Any) -> Any:
    """Convert integers to floats, because all numbers in JavaScript are doubles."""
    if isinstance(value, list):
        return [_convert_to_floats(item) for item in value]
    if isinstance(value, dict):
        return {key: _convert_to_floats(item) for key, item in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
