"""
An emulator that is crowded in no time: no quotas, and records that nobody asked the API for.

``python -m tests.helpers.many_jobs`` serves until its standard input ends. Beside the emulator's own paths it has ``/_crowd``, which
makes many jobs at once.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterable
from typing import Any

from tests.support import REGION, EmulatorProcess, World

JOB = "audience-generation-job"
EXPORT = "audience-export-job"


class CrowdedProcess(EmulatorProcess):
    """Such an emulator in a separate process."""

    module = "tests.helpers.many_jobs"

    def crowd(self, kind: str, account: str, count: int, seconds: float, **fields: Any) -> list[str]:
        """
        Add many jobs of a kind.

        :param kind: :data:`JOB` or :data:`EXPORT`.
        :param seconds: How long they are CREATE_IN_PROGRESS; negative for jobs that ended long ago.
        :param fields: Members of all of them.
        :return: Their ARNs, in the order of the listing.
        """
        asked = {"kind": kind, "account": account, "count": count, "seconds": seconds, "fields": fields}
        with urllib.request.urlopen(f"{self.url}/_crowd", json.dumps(asked).encode()) as answer:
            made: list[str] = json.load(answer)
        return made

    def push(self, seconds: float) -> None:
        """Move the emulator's clock forward."""
        self._control("clock", {"advance": seconds})


class CrowdedWorld(World):
    """An account in such an emulator."""

    emulator: CrowdedProcess

    def add_jobs(self, count: int, seconds: float = 1e6, **fields: Any) -> list[str]:
        """Add generation jobs, and return their ARNs."""
        model = f"arn:aws:cleanrooms-ml:{REGION}:{self.account}:configured-audience-model/m"
        started = {"startedBy": self.account, "configuredAudienceModelArn": model, "collaborationId": None}
        return self.emulator.crowd(JOB, self.account, count, seconds, **started, **fields)

    def add_exports(self, job: str, count: int, seconds: float = 1e6) -> None:
        """Add export jobs of a generation job, named ``job-0``, ``job-1`` …"""
        fields = {"audienceGenerationJobArn": job, "audienceSize": {"type": "PERCENTAGE", "value": 10}}
        self.emulator.crowd(EXPORT, self.account, count, seconds, **fields)


def _wrap_application(app: Any) -> Any:
    from werkzeug.wrappers import Request, Response

    from airflow_cleanroomsml.emulator.lifecycle import Lifecycle
    from airflow_cleanroomsml.emulator.store import Caller, Record

    shared = app._admin_api._shared

    def make(asked: dict[str, Any]) -> Iterable[str]:
        caller = Caller(asked["account"], REGION)
        for index in range(asked["count"]):
            lifecycle = Lifecycle(shared.clock, progress=asked["seconds"])
            fields = {"name": f"job-{index}", **asked["fields"]}
            member = "audienceGenerationJobArn" if asked["kind"] == JOB else ""
            yield shared.store.add(Record(asked["kind"], fields, caller, lifecycle, member)).arn

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/_crowd":
            found: Iterable[bytes] = app(environ, start_response)
            return found
        with shared.store.lock:
            made = list(make(json.loads(Request(environ).get_data())))
        return Response(json.dumps(made))(environ, start_response)

    return answer


def main() -> None:
    """Serve until standard input ends."""
    from airflow_cleanroomsml.emulator.server import Emulator
    from airflow_cleanroomsml.emulator.settings import Settings

    with Emulator(Settings(scale=0.001, delete_seconds=0.2)) as emulator:
        emulator._server.app = _wrap_application(emulator._server.app)
        sys.stdout.write(f"AWS_ENDPOINT_URL={emulator.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
