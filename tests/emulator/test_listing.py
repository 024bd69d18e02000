"""What a page of a listing costs, counted: as much among many resources as among few."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from botocore import xform_name
from botocore.loaders import Loader

import airflow_cleanroomsml.emulator
from airflow_cleanroomsml.emulator import listing as listing_module
from airflow_cleanroomsml.emulator.application import build_application
from airflow_cleanroomsml.emulator.backend import RESOURCES
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.settings import Settings
from airflow_cleanroomsml.emulator.store import Caller, Record
from tests.emulator.clocked_world import ClockedWorld
from tests.emulator.custom_models import Custom, set_up
from tests.helpers.in_process import URL, InProcess, in_process
from tests.properties.observed_emulator import Idle

SETTINGS = Settings(scale=0.001, pending_seconds=100, progress_seconds=100, delete_seconds=100, instance_types=())
PACKAGE = str(Path(airflow_cleanroomsml.emulator.__file__).parent)


def pagination(service: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = Loader().load_service_model(service, "paginators-1")["pagination"]
    kinds = RESOURCES[service]
    return {name: rule for name, rule in found.items() if any(hasattr(kind, xform_name(name)) for kind in kinds)}


@dataclass
class Stock:
    """An account that has one of everything that can be listed, and then many."""

    emulator: InProcess
    custom: Custom
    named: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> ClockedWorld:
        """Whose the resources are."""
        return self.custom.runner

    def fill(self) -> None:
        """Make one of each."""
        world, custom = self.world, self.custom
        configured = world.create_configured_model()
        seed = {"dataSource": {"s3Uri": f"s3://{world.bucket}/seed"}, "roleArn": world.role}
        job = world.ml.start_audience_generation_job(
            name="job",
            configuredAudienceModelArn=configured,
            seedAudience=seed,
            collaborationId=custom.collaboration.id,
        )["audienceGenerationJobArn"]
        world.push(300)
        size = {"type": "PERCENTAGE", "value": 10}
        world.ml.start_audience_export_job(name="export", audienceGenerationJobArn=job, audienceSize=size)
        channel = custom.create_channel()
        model = custom.train("model", channel)["trainedModelArn"]
        world.push(300)
        custom.continue_training(channel, model)
        world.push(300)
        custom.infer("inference", model, channel)
        world.ml.start_trained_model_export_job(
            **custom.of,
            name="export",
            trainedModelArn=model,
            outputConfiguration={"members": [{"accountId": world.account}]},
        )
        world.rooms.create_configured_audience_model_association(
            **custom.of,
            configuredAudienceModelArn=configured,
            configuredAudienceModelAssociationName="association",
            manageResourcePolicies=False,
        )
        own = world.ml.create_configured_model_algorithm(name="algorithm", roleArn=world.role)
        world.ml.create_configured_model_algorithm_association(
            **custom.of, name="own", configuredModelAlgorithmArn=own["configuredModelAlgorithmArn"]
        )
        self.named = {
            **custom.of,
            **custom.within,
            "trainedModelArn": model,
            "audienceGenerationJobArn": job,
            "configuredAudienceModelArn": configured,
            "collaborationId": custom.collaboration.id,
        }

    def multiply(self, times: int) -> None:
        """Put copies that belong elsewhere before all resources, and copies under the same parents after them."""
        store = self.emulator.shared.store
        originals = store.records
        elsewhere = [copy for record in originals for _ in range(times) for copy in _elsewhere(record)]
        copies = [_copy(record) for record in originals for _ in range(times)]
        store.clear()
        for record in (*elsewhere, *originals, *copies):
            store.add(record)

    def read_page(self, query: Query, **more: Any) -> dict[str, Any]:
        """A page of a listing."""
        client = self.world.ml if query.service == "cleanroomsml" else self.world.rooms
        members = client.meta.service_model.operation_model(query.operation).input_shape
        arguments = {name: self.named[name] for name in members.required_members}
        arguments |= {name: value or self.named[name] for name, value in query.more}
        found: dict[str, Any] = getattr(client, xform_name(query.operation))(**arguments, **more)
        return found

    def pages(self, query: Query) -> Iterator[list[dict[str, Any]]]:
        """All entries of a listing, by pages."""
        key = pagination(query.service)[query.operation]["result_key"]
        token: dict[str, str] = {}
        while True:
            page = self.read_page(query, maxResults=100, **token)
            yield page[key]
            if "nextToken" not in page:
                return
            token = {"nextToken": page["nextToken"]}


def _renewed(text: str) -> str:
    """An ARN or identifier with another UUID at its end."""
    return f"{text[:-36]}{uuid.uuid4()}"


def _copy(record: Record, caller: Caller | None = None, **fields: Any) -> Record:
    """Another resource of the kind; of a further version of a model another version."""
    version = record.fields.get("versionIdentifier", "NULL")
    arn = record.arn if version != "NULL" else _renewed(record.arn)
    changed = {**record.fields, **fields}
    if version != "NULL":
        changed["versionIdentifier"] = _renewed(version)
    if "id" in changed:
        changed["id"] = arn[-36:]
    return replace(record, fields=changed, arn=arn, caller=caller or record.caller)


#: Members that name a parent.
PARENTS = ("audienceGenerationJobArn", "collaborationId", "configuredAudienceModelArn", "trainedModelArn")


def _elsewhere(record: Record) -> Iterator[Record]:
    """Copies that differ in one respect: the account, the members of a collaboration, or a parent."""
    if record.fields.get("versionIdentifier", "NULL") != "NULL":
        return
    yield _copy(record, Caller("210987654321", record.caller.region))
    if "members" in record.fields:
        yield _copy(record, members=[])
    for name in PARENTS:
        if record.fields.get(name) not in (None, record.arn):
            yield _copy(record, None, **{name: _renewed(record.fields[name])})
    if record.membership_id:
        elsewhere = replace(_copy(record), membership_id=_renewed(record.membership_id))
        # Each collaboration has memberships of its own.
        yield from (elsewhere, replace(_copy(elsewhere), collaboration_id=_renewed(record.collaboration_id)))


@contextmanager
def stocked(times: int) -> Iterator[Stock]:
    """An account with as many of everything that can be listed."""
    with in_process(SETTINGS) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing_module, "MOST_SKIPPED", 5)
        emulator._application = build_application(emulator.shared, lambda: URL, Idle())
        found = Stock(emulator, set_up(ClockedWorld(emulator), ClockedWorld(emulator)))
        found.fill()
        found.multiply(times)
        yield found


def instructions(call: Callable[[], object]) -> int:
    """Instructions and lines that the emulator's own code carries out in a call."""
    count = 0

    def within(*_: object) -> Any:
        nonlocal count
        count += 1
        return within

    def entered(frame: FrameType, _: str, __: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        return within

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


@dataclass(frozen=True)
class Query:
    """A List operation, and what narrows it down."""

    service: str
    operation: str
    more: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return " ".join((self.operation, *(f"{name}={value}" for name, value in self.more)))


#: Listings of less than all; "" stands for the parent of all copies. Of some, nothing at all has the status.
NARROWED = [
    Query("cleanroomsml", "ListAudienceExportJobs", (("audienceGenerationJobArn", ""),)),
    Query("cleanroomsml", "ListAudienceGenerationJobs", (("configuredAudienceModelArn", ""),)),
    Query("cleanroomsml", "ListAudienceGenerationJobs", (("collaborationId", ""),)),
    Query("cleanroomsml", "ListCollaborationTrainedModelInferenceJobs", (("trainedModelArn", ""),)),
    Query("cleanroomsml", "ListTrainedModelInferenceJobs", (("trainedModelArn", ""),)),
    Query("cleanroomsml", "ListTrainedModelVersions", (("status", "ACTIVE"),)),
    Query("cleanroomsml", "ListTrainedModelVersions", (("status", "CREATE_FAILED"),)),
    Query("cleanrooms", "ListCollaborations", (("memberStatus", "ACTIVE"),)),
    Query("cleanrooms", "ListCollaborations", (("memberStatus", "INVITED"),)),
    Query("cleanrooms", "ListMemberships", (("status", "ACTIVE"),)),
    Query("cleanrooms", "ListMemberships", (("status", "COLLABORATION_DELETED"),)),
    Query("cleanrooms", "ListProtectedQueries", (("status", "SUCCESS"),)),
    Query("cleanrooms", "ListProtectedQueries", (("status", "FAILED"),)),
]
#: Members are part of their collaboration, which has ten at most.
QUERIES = [
    *(Query(service, name) for service in RESOURCES for name in pagination(service) if name != "ListMembers"),
    *NARROWED,
]


@dataclass
class Cost:
    """
    What a listing costs.

    :param entries: How many it has in all.
    :param first: Instructions for its first page of three.
    :param last: Instructions for its last three.
    :param pages: The sizes of its pages of 100.
    """

    entries: int
    first: int
    last: int
    pages: list[int]


def cost(stock: Stock, query: Query) -> Cost:
    # Python 3.13 reports all instructions of a function only from its second traced call on.
    first = [instructions(lambda: stock.read_page(query, maxResults=3)) for _ in range(2)][-1]
    pages = [len(page) for page in stock.pages(query)]
    token: dict[str, str] = {}
    left = sum(pages) - 3
    while left > 0:
        size = min(left, 100)
        token = {"nextToken": stock.read_page(query, maxResults=size, **token)["nextToken"]}
        left -= size
    last = instructions(lambda: stock.read_page(query, maxResults=3, **token))
    return Cost(sum(pages), first, last, pages)


Costs = Mapping[Query, Cost]


@pytest.fixture(scope="module")
def few() -> Costs:
    with stocked(6) as stock:
        return {query: cost(stock, query) for query in QUERIES}


@pytest.fixture(scope="module")
def many() -> Costs:
    with stocked(200) as stock:
        return {query: cost(stock, query) for query in QUERIES}


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_the_cost_of_a_page_does_not_grow_with_the_listing(few: Costs, many: Costs, query: Query) -> None:
    before, after = few[query], many[query]
    assert after.entries >= 20 * before.entries
    assert after.first <= 1.05 * before.first
    assert after.last <= 1.05 * before.last


@pytest.mark.parametrize("query", [query for query in QUERIES if "tatus" not in str(query.more)], ids=str)
def test_only_a_status_filter_returns_incomplete_pages(many: Costs, query: Query) -> None:
    *full, last = many[query].pages
    assert set(full) == {100}
    assert last


def test_a_record_is_dropped_when_its_deletion_ends() -> None:
    with in_process(SETTINGS) as emulator:
        emulator._application = build_application(emulator.shared, lambda: URL, Idle())
        world, store = ClockedWorld(emulator), emulator.shared.store
        model = world.train_model()
        world.ml.delete_audience_model(audienceModelArn=model)
        world.ml.list_audience_models()
        assert [record.arn for record in store.records if record.kind == "audience-model"] == [model]
        world.push(101)
        assert list(store.find("audience-model")) == []
        world.ml.list_audience_models()
        assert [record.kind for record in store.records] == ["training-dataset"]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("share", [1, 4, 7, 50, 1000])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_list_every_record_once_in_order(
    monkeypatch: pytest.MonkeyPatch, size: int, share: int, newest_first: bool
) -> None:
    monkeypatch.setattr(listing_module, "MOST_SKIPPED", 5)
    numbers = range(10, 150)
    listing = Listing(numbers, lambda n: {"n": n}, lambda n: n % share == 0, lambda n: n, newest_first)
    found, after = [], 0
    while True:
        page, after = listing.read_page(after, size)
        assert len(page) <= size
        found += [entry["n"] for entry in page]
        if not after:
            break
    wanted = [number for number in numbers if number % share == 0]
    assert found == (wanted[::-1] if newest_first else wanted)


def test_a_record_skipped_after_a_full_page_is_on_the_next_page() -> None:
    shown = {1, 2, 4}
    listing = Listing([1, 2, 3, 4], lambda n: {"n": n}, shown.__contains__, lambda n: n)
    assert listing.read_page(0, 2) == ([{"n": 1}, {"n": 2}], 2)
    shown.add(3)
    assert listing.read_page(2, 2) == ([{"n": 3}, {"n": 4}], 0)
