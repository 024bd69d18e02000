"""
Which run of a task a resource belongs to: the tag, and the names that its retries use.

Every create carries one tag that names the run of the task, a fingerprint of the request, and the sequence of tries that created it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_cleanroomsml._idempotency.attempts import read_current_attempt

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml._resources.table import Resource

#: Key of the tag.
TAG = "airflow-cleanroomsml:task"
#: Key of the tag for a further version of a trained model: all versions share the tags of their ARN. Not a key per run, which would use up
#: the 50 tags of a resource after 49 runs (docs/design/idempotency.md).
VERSION_TAG = "airflow-cleanroomsml:version"
#: What AWS allows in every tag (AWS tagging guide), leaving room in 256 characters for the fingerprint and a sequence of eight digits.
_TAG_VALUE = re.compile(r"[A-Za-z0-9 _.:/=+@-]{1,230}")
_SUFFIX = "-retry-"
#: Members that do not count: neither justifies a second training, and a description may name the try.
_IGNORED = ("tags", "description")


@dataclass(frozen=True)
class Claim:
    """
    What a run of a task claims as its own.

    :param run: Dag, run, task and map index; a hash of them if a tag cannot hold them.
    :param fingerprint: Sixteen hexadecimal digits of the request.
    :param key: Key of the tag.
    :param sequence: The sequence of tries, see :mod:`~airflow_cleanroomsml._idempotency.attempts`; None if it is unknown.
    """

    run: str
    fingerprint: str
    key: str = TAG
    sequence: int | None = None

    @property
    def value(self) -> str:
        """Value of the tag. Tags of releases without sequences end with the fingerprint."""
        # Hexadecimal, so that the largest integer of Airflow's database has eight digits.
        sequence = "" if self.sequence is None else f":{self.sequence:x}"
        return f"{self.run} {self.fingerprint}{sequence}"

    def is_of_run(self, value: str | None) -> bool:
        """Whether a tag's value names the same run."""
        return value is not None and value.rpartition(" ")[0] == self.run

    def is_same(self, value: str | None) -> bool:
        """Whether a tag's value names the same run and the same request."""
        return self.is_of_run(value) and parse_tag(value)[0] == self.fingerprint

    def is_of_sequence(self, value: str | None) -> bool:
        """Whether a tag's value names the same run and the same sequence of tries."""
        return self.sequence is not None and self.is_of_run(value) and parse_tag(value)[1] == f"{self.sequence:x}"


def parse_tag(value: str | None) -> tuple[str, str]:
    """Return fingerprint and sequence of a tag's value; the sequence is empty if there is none."""
    fingerprint, _, sequence = (value or "").rpartition(" ")[2].partition(":")
    return fingerprint, sequence


def make_claim(context: Context, request: Request) -> Claim | None:
    """Make the claim of the running task; None outside a run."""
    ti = context.get("ti")
    if ti is None:
        return None
    run = "/".join(str(getattr(ti, name)) for name in ("dag_id", "run_id", "task_id", "map_index"))
    # Dag and run IDs may be longer than a tag, and may contain characters that tags do not allow.
    # Readable where possible, because people find the task of a resource by its tag.
    if not _TAG_VALUE.fullmatch(run):
        run = f"sha256:{hashlib.sha256(run.encode()).hexdigest()}"
    key = VERSION_TAG if find_extended_model(request) else TAG
    return Claim(run, compute_fingerprint(request), key, read_current_attempt(context).sequence)


def find_extended_model(request: Request) -> str | None:
    """Return the ARN of the trained model of which the request creates another version."""
    channels = request.members.get("incrementalTrainingDataChannels")
    return channels[0]["trainedModelArn"] if channels else None


def compute_fingerprint(request: Request) -> str:
    """Compute a digest of a request without its tags and description."""
    members = {name: value for name, value in request.members.items() if name not in _IGNORED}
    text = json.dumps(members, sort_keys=True, default=lambda value: value.isoformat())
    # 64 bits are enough to distinguish the requests of one run, and leave room in the tag for its name.
    return hashlib.sha256(f"{request.method} {text}".encode()).hexdigest()[:16]


def build_retry_name(name: str, number: int, limit: int) -> str:
    """
    Build the name of the run's next resource while earlier ones keep theirs: AWS may never free the name of a failed resource.

    :param number: 1 for the name itself.
    :param limit: Maximum length; a longer name is cut and gets a digest.
    """
    if number == 1:
        return name
    suffix = f"{_SUFFIX}{number}"
    if len(name) + len(suffix) <= limit:
        return name + suffix
    # Two long names that differ only at their ends must stay different.
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: limit - len(suffix) - 9]}-{digest}{suffix}"


def parse_retry_number(candidate: str, name: str, limit: int) -> int | None:
    """Return the number for which :func:`build_retry_name` gives the candidate; None for another name."""
    if candidate == name:
        return 1
    found = re.search(rf"{_SUFFIX}([1-9]\d{{0,5}})\Z", candidate)
    number = int(found[1]) if found else 1
    return number if number > 1 and build_retry_name(name, number, limit) == candidate else None


def find_name_limit(request: Request, resource: Resource) -> int:
    """Return the maximum length of a name: the model's, or 50 if the service puts an account before it (user guide, ml-behaviors)."""
    shape = request.shapes[resource.named]
    return 50 if "collaborationId" in request.members else int(shape.metadata.get("max", 63))
