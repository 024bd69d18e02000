"""The cost of a page of a listing, counted in instructions, does not grow with the number of resources."""

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


def read_paginators(service: str) -> dict[str, dict[str, Any]]:
    paginators: dict[str, dict[str, Any]] = Loader().load_service_model(service, "paginators-1")["pagination"]
    resources = RESOURCES[service]
    return {
        name: rule
        for name, rule in paginators.items()
        if any(hasattr(resource, xform_name(name)) for resource in resources)
    }


@dataclass
class Stock:
    """An account with one resource of each kind that can be listed, and then with many copies of them."""

    emulator: InProcess
    custom: Custom
    identifiers: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> ClockedWorld:
        """The account that owns the resources."""
        return self.custom.runner

    def fill(self) -> None:
        """Create one resource of each kind."""
        world, custom = self.world, self.custom
        configured = world.create_configured_model()
        seed = {"dataSource": {"s3Uri": f"s3://{world.bucket}/seed"}, "roleArn": world.role}
        job = world.ml.start_audience_generation_job(
            name="job",
            configuredAudienceModelArn=configured,
            seedAudience=seed,
            collaborationId=custom.collaboration.id,
        )["audienceGenerationJobArn"]
        world.advance(300)
        size = {"type": "PERCENTAGE", "value": 10}
        world.ml.start_audience_export_job(name="export", audienceGenerationJobArn=job, audienceSize=size)
        channel = custom.create_channel()
        model = custom.train("model", channel)["trainedModelArn"]
        world.advance(300)
        custom.continue_training(channel, model)
        world.advance(300)
        custom.infer("inference", model, channel)
        world.ml.start_trained_model_export_job(
            **custom.in_membership,
            name="export",
            trainedModelArn=model,
            outputConfiguration={"members": [{"accountId": world.account}]},
        )
        world.cleanrooms.create_configured_audience_model_association(
            **custom.in_membership,
            configuredAudienceModelArn=configured,
            configuredAudienceModelAssociationName="association",
            manageResourcePolicies=False,
        )
        own_algorithm = world.ml.create_configured_model_algorithm(name="algorithm", roleArn=world.role)
        world.ml.create_configured_model_algorithm_association(
            **custom.in_membership, name="own", configuredModelAlgorithmArn=own_algorithm["configuredModelAlgorithmArn"]
        )
        self.identifiers = {
            **custom.in_membership,
            **custom.in_collaboration,
            "trainedModelArn": model,
            "audienceGenerationJobArn": job,
            "configuredAudienceModelArn": configured,
            "collaborationId": custom.collaboration.id,
        }

    def multiply(self, times: int) -> None:
        """Add copies with other owners or parents before the originals, and copies with the same owner and parents after them."""
        store = self.emulator.shared.store
        originals = store.records
        foreign_copies = [copy for record in originals for _ in range(times) for copy in _build_foreign_copies(record)]
        copies = [_copy(record) for record in originals for _ in range(times)]
        store.clear()
        for record in (*foreign_copies, *originals, *copies):
            store.add(record)

    def read_page(self, query: Query, **paging: Any) -> dict[str, Any]:
        """Read a page of a listing."""
        client = self.world.ml if query.service == "cleanroomsml" else self.world.cleanrooms
        members = client.meta.service_model.operation_model(query.operation).input_shape
        arguments = {name: self.identifiers[name] for name in members.required_members}
        arguments |= {name: value or self.identifiers[name] for name, value in query.filters}
        page: dict[str, Any] = getattr(client, xform_name(query.operation))(**arguments, **paging)
        return page

    def read_pages(self, query: Query) -> Iterator[list[dict[str, Any]]]:
        """Read the entries of all pages of a listing."""
        key = read_paginators(query.service)[query.operation]["result_key"]
        token: dict[str, str] = {}
        while True:
            page = self.read_page(query, maxResults=100, **token)
            yield page[key]
            if "nextToken" not in page:
                return
            token = {"nextToken": page["nextToken"]}


def _change_uuid(text: str) -> str:
    """Return an ARN or identifier with another UUID at its end."""
    return f"{text[:-36]}{uuid.uuid4()}"


def _copy(record: Record, caller: Caller | None = None, **fields: Any) -> Record:
    """Copy a record under another ARN, or an incremental version of a model under another version identifier."""
    version = record.fields.get("versionIdentifier", "NULL")
    arn = record.arn if version != "NULL" else _change_uuid(record.arn)
    changed = {**record.fields, **fields}
    if version != "NULL":
        changed["versionIdentifier"] = _change_uuid(version)
    if "id" in changed:
        changed["id"] = arn[-36:]
    return replace(record, fields=changed, arn=arn, caller=caller or record.caller)


#: Members that name a parent.
PARENTS = ("audienceGenerationJobArn", "collaborationId", "configuredAudienceModelArn", "trainedModelArn")


def _build_foreign_copies(record: Record) -> Iterator[Record]:
    """Build copies that differ in one respect: the account, the members of a collaboration, or a parent."""
    if record.fields.get("versionIdentifier", "NULL") != "NULL":
        return
    yield _copy(record, Caller("210987654321", record.caller.region))
    if "members" in record.fields:
        yield _copy(record, members=[])
    for name in PARENTS:
        if record.fields.get(name) not in (None, record.arn):
            yield _copy(record, None, **{name: _change_uuid(record.fields[name])})
    if record.membership_id:
        foreign = replace(_copy(record), membership_id=_change_uuid(record.membership_id))
        # Each collaboration has its own memberships.
        yield from (foreign, replace(_copy(foreign), collaboration_id=_change_uuid(record.collaboration_id)))


@contextmanager
def stock_account(times: int) -> Iterator[Stock]:
    """Create an account with this many copies of each resource that can be listed."""
    with in_process(SETTINGS) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing_module, "MOST_SKIPPED", 5)
        emulator._application = build_application(emulator.shared, lambda: URL, Idle())
        stock = Stock(emulator, set_up(ClockedWorld(emulator), ClockedWorld(emulator)))
        stock.fill()
        stock.multiply(times)
        yield stock


def count_instructions(call: Callable[[], object]) -> int:
    """Count the instructions and lines of the emulator's own code that a call executes."""
    count = 0

    def count_event(*_: object) -> Any:
        nonlocal count
        count += 1
        return count_event

    def trace_call(frame: FrameType, _: str, __: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        return count_event

    before = sys.gettrace()
    sys.settrace(trace_call)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


@dataclass(frozen=True)
class Query:
    """A List operation and its filters."""

    service: str
    operation: str
    filters: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return " ".join((self.operation, *(f"{name}={value}" for name, value in self.filters)))


#: Filtered listings; "" stands for the parent of all copies. Some filter by a status that no resource has.
FILTERED_QUERIES = [
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
#: Except ListMembers: members are part of their collaboration, which has ten at most.
QUERIES = [
    *(Query(service, name) for service in RESOURCES for name in read_paginators(service) if name != "ListMembers"),
    *FILTERED_QUERIES,
]


@dataclass
class Cost:
    """
    Cost of a listing.

    :param entries: Number of entries.
    :param first: Instructions for the first page, of three entries.
    :param last: Instructions for the last page, of three entries.
    :param pages: Sizes of the pages when up to 100 entries are requested.
    """

    entries: int
    first: int
    last: int
    pages: list[int]


def measure_cost(stock: Stock, query: Query) -> Cost:
    # Python 3.13 reports all instructions of a function only from its second traced call on.
    first = [count_instructions(lambda: stock.read_page(query, maxResults=3)) for _ in range(2)][-1]
    pages = [len(page) for page in stock.read_pages(query)]
    token: dict[str, str] = {}
    remaining = sum(pages) - 3
    while remaining > 0:
        size = min(remaining, 100)
        token = {"nextToken": stock.read_page(query, maxResults=size, **token)["nextToken"]}
        remaining -= size
    last = count_instructions(lambda: stock.read_page(query, maxResults=3, **token))
    return Cost(sum(pages), first, last, pages)


Costs = Mapping[Query, Cost]


@pytest.fixture(scope="module")
def few() -> Costs:
    with stock_account(6) as stock:
        return {query: measure_cost(stock, query) for query in QUERIES}


@pytest.fixture(scope="module")
def many() -> Costs:
    with stock_account(200) as stock:
        return {query: measure_cost(stock, query) for query in QUERIES}


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_page_cost_does_not_grow_with_listing(few: Costs, many: Costs, query: Query) -> None:
    cost_of_few, cost_of_many = few[query], many[query]
    assert cost_of_many.entries >= 20 * cost_of_few.entries
    assert cost_of_many.first <= 1.05 * cost_of_few.first
    assert cost_of_many.last <= 1.05 * cost_of_few.last


@pytest.mark.parametrize("query", [query for query in QUERIES if "tatus" not in str(query.filters)], ids=str)
def test_only_status_filters_return_incomplete_pages(many: Costs, query: Query) -> None:
    *full, last = many[query].pages
    assert set(full) == {100}
    assert last


def test_record_is_dropped_when_deletion_ends() -> None:
    with in_process(SETTINGS) as emulator:
        emulator._application = build_application(emulator.shared, lambda: URL, Idle())
        world, store = ClockedWorld(emulator), emulator.shared.store
        model = world.train_model()
        world.ml.delete_audience_model(audienceModelArn=model)
        world.ml.list_audience_models()
        assert [record.arn for record in store.records if record.kind == "audience-model"] == [model]
        world.advance(101)
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
    listed, after = [], 0
    while True:
        page, after = listing.read_page(after, size)
        assert len(page) <= size
        listed += [entry["n"] for entry in page]
        if not after:
            break
    expected = [number for number in numbers if number % share == 0]
    assert listed == (expected[::-1] if newest_first else expected)


def test_record_skipped_after_full_page_is_on_next_page() -> None:
    visible = {1, 2, 4}
    listing = Listing([1, 2, 3, 4], lambda n: {"n": n}, visible.__contains__, lambda n: n)
    assert listing.read_page(0, 2) == ([{"n": 1}, {"n": 2}], 2)
    visible.add(3)
    assert listing.read_page(2, 2) == ([{"n": 3}, {"n": 4}], 0)
