"""The resources of a run: names and tags identify them, and they are deleted at the end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from botocore import xform_name

from airflow_cleanroomsml._resources.table import (
    AUDIENCE_GENERATION_JOB,
    AUDIENCE_MODEL,
    CONFIGURED_AUDIENCE_MODEL,
    CONFIGURED_MODEL_ALGORITHM,
    CONFIGURED_MODEL_ALGORITHM_ASSOCIATION,
    TRAINING_DATASET,
    Resource,
)
from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import (
    CleanRoomsMLDeleteAudienceGenerationJobOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLDeleteConfiguredAudienceModelOperator,
    CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator,
    CleanRoomsMLDeleteConfiguredModelAlgorithmOperator,
    CleanRoomsMLDeleteTrainingDatasetOperator,
)
from tests.aws.account import Account
from tests.support import SCHEMA, run

MARK = "airflow-cleanroomsml-test"
#: The operator that deletes each resource, in the order that the service requires.
DELETES: list[tuple[Resource, Any]] = [
    (CONFIGURED_MODEL_ALGORITHM_ASSOCIATION, CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator),
    (CONFIGURED_MODEL_ALGORITHM, CleanRoomsMLDeleteConfiguredModelAlgorithmOperator),
    (AUDIENCE_GENERATION_JOB, CleanRoomsMLDeleteAudienceGenerationJobOperator),
    (CONFIGURED_AUDIENCE_MODEL, CleanRoomsMLDeleteConfiguredAudienceModelOperator),
    (AUDIENCE_MODEL, CleanRoomsMLDeleteAudienceModelOperator),
    (TRAINING_DATASET, CleanRoomsMLDeleteTrainingDatasetOperator),
]


@dataclass
class Bench:
    """
    Creates resources for the tests of a run, and deletes them.

    :param account: The account.
    :param run: Identifies the run in the names and tags of its resources.
    """

    account: Account
    run: str
    _ends: list[Callable[[], Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def ml(self) -> Any:
        return self.account.client("cleanroomsml")

    @property
    def tags(self) -> dict[str, str]:
        return {MARK: self.run}

    def make_name(self) -> str:
        """Make a unique name."""
        return f"{MARK}-{self.run}-{next(self._numbers)}"

    def at_end(self, end: Callable[[], Any]) -> None:
        """Register a call for the end of the test, which happens even if the test fails; calls run in reverse order."""
        self._ends.append(end)

    def make(self, kind: Any, **arguments: Any) -> str:
        """Run a create operator, and delete its resource at the end."""
        operator = kind(task_id="make", **{"name": self.make_name(), "tags": self.tags, **arguments})
        arn = str(run(operator).result)
        self.delete_at_end(operator.resource, arn, **_membership(arguments))
        return arn

    def delete_at_end(self, resource: Resource, arn: str, **more: str) -> None:
        self.at_end(lambda: delete(resource, arn, **more))

    def clear(self) -> None:
        """
        Delete the resources.

        :raises AssertionError: A resource could not be deleted.
        """
        left = []
        while self._ends:
            try:
                self._ends.pop()()
            except CleanRoomsMLError as error:
                left.append(str(error))
        assert not left, "\n".join(left)

    def build_dataset_request(self, **more: Any) -> dict[str, Any]:
        """Build a request for a training dataset, with the API's names of members."""
        glue = {
            "databaseName": self.account.read_requirement("GLUE_DATABASE"),
            "tableName": self.account.read_requirement("GLUE_TABLE"),
        }
        config = {"schema": deepcopy(SCHEMA), "dataSource": {"glueDataSource": glue}}
        return {
            "name": self.make_name(),
            "roleArn": self.account.read_requirement("ROLE_ARN"),
            "trainingData": [{"type": "INTERACTIONS", "inputConfig": config}],
            "tags": self.tags,
            **more,
        }

    def create_dataset(self, **more: Any) -> str:
        """Create a training dataset with plain boto3."""
        arn = str(self.ml.create_training_dataset(**self.build_dataset_request(**more))["trainingDatasetArn"])
        self.delete_at_end(TRAINING_DATASET, arn)
        return arn


def _membership(members: Any) -> dict[str, str]:
    return {key: value for key, value in members.items() if key == "membership_identifier"}


def delete(resource: Resource, arn: str, **more: str) -> None:
    """Delete a resource, and wait until it is gone."""
    operator = next(operator for known, operator in DELETES if known is resource)
    run(operator(task_id="delete", **{resource.identifiers[0]: arn}, **more))


@dataclass
class Sweep:
    """
    Resources of runs that a search of the listings found.

    :param deleted: Left by this run and now deleted.
    :param left: Left by this run and not deletable; also listings that failed.
    :param older: Left by other runs.
    """

    deleted: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)


def sweep(run_id: str, membership: str = "") -> Sweep:
    """Find the resources that runs left behind, and delete those of this run."""
    found = Sweep()
    for resource, _ in DELETES:
        more = {"membership_identifier": membership} if "membership_identifier" in resource.narrow else {}
        if not all(more.values()):
            continue
        try:
            entries = [*CleanRoomsMLHook().items(resource.list, more)]
        except CleanRoomsMLError as error:
            found.left.append(f"{resource.noun}s could not be listed: {error}")
            continue
        for entry in entries:
            if entry["name"].startswith(f"{MARK}-"):
                _sweep_entry(found, resource, {xform_name(key): value for key, value in entry.items()}, run_id, more)
    return found


def _sweep_entry(found: Sweep, resource: Resource, entry: dict[str, Any], run_id: str, more: dict[str, str]) -> None:
    arn = entry[resource.identifiers[0]]
    title = f"{resource.noun} {entry['name']}, made {entry['create_time']:%Y-%m-%d %H:%M}: {arn}"
    if not entry["name"].startswith(f"{MARK}-{run_id}-"):
        found.older.append(title)
        return
    try:
        delete(resource, arn, **more)
        found.deleted.append(title)
    except CleanRoomsMLError as error:
        found.left.append(f"{title}: {error}")
