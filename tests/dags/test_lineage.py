"""The lineage that Airflow's OpenLineage provider records of a run, with OpenLineage's own file transport."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attr
import pytest
from openlineage.client import event_v2, facet_v2

from tests.helpers.deployment import ROOT, Deployment
from tests.helpers.lineage import record_lineage
from tests.support import EmulatorProcess, World
from tools.lineage_picture import Dataset, draw, find_edges, read_events

PICTURE = ROOT / "docs" / "pictures" / "lineage.svg"
COLUMNS = ["user_id", "item_id", "timestamp", "event_type", "event_value"]
KINDS = ["training-dataset", "audience-model", "configured-audience-model", "audience-generation-job"]


class LineageRun:
    """An Airflow whose OpenLineage provider writes its events to a file."""

    def __init__(self, emulator: EmulatorProcess, home: Path) -> None:
        self.path = home / "events.ndjson"
        self.airflow = Deployment(
            home,
            AWS_ENDPOINT_URL=emulator.url,
            AWS_DEFAULT_REGION="us-east-1",
            **record_lineage(self.path),
        )

    def run(self, world: World, file: Path, dag_id: str, conf: dict[str, Any], *, deferrable: bool) -> dict[str, Any]:
        """Run a Dag and return what its tasks did."""
        self.path.unlink(missing_ok=True)
        self.airflow.connect(default=world)
        return self.airflow.run(file, dag_id, conf, deferrable=deferrable)

    @property
    def events(self) -> list[dict[str, Any]]:
        return read_events(self.path)

    def find_event(self, task: str, kind: str = "COMPLETE") -> dict[str, Any]:
        """Find an event of a task."""
        return next(
            event for event in self.events if event["job"]["name"].endswith(f".{task}") and event["eventType"] == kind
        )


@pytest.fixture(scope="module")
def lineage_run(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> LineageRun:
    return LineageRun(emulator, tmp_path_factory.mktemp("openlineage"))


def read_dataset(kind: Any, value: dict[str, Any]) -> None:
    """Have OpenLineage's classes check a dataset and its facets."""
    kind(**{name: item for name, item in value.items() if not name.endswith("acets")})
    for facets in (value.get("facets", {}), value.get("inputFacets", {}), value.get("outputFacets", {})):
        read_facets(facets)


def read_facets(facets: dict[str, Any]) -> None:
    """Check that each facet of the specification has the members that OpenLineage's class for it has."""
    for name, facet in facets.items():
        assert {"_producer", "_schemaURL"} <= set(facet), name
        if cls := FACETS.get(facet["_schemaURL"]):
            fields = attr.fields_dict(cls)
            assert set(facet) <= set(fields), name
            assert {key for key, field in fields.items() if field.default is attr.NOTHING} <= set(facet), name


def find_classes(parent: type[Any]) -> list[type[Any]]:
    return [cls for each in parent.__subclasses__() for cls in (each, *find_classes(each))]


#: OpenLineage's classes for the facets of its specification, by their schemas.
FACETS = {
    cls._get_schema(): cls
    for cls in find_classes(facet_v2.BaseFacet)
    if cls.__module__.startswith("openlineage.client.generated.") and not cls.__module__.endswith(".base")
}


def check_event(event: dict[str, Any]) -> None:
    """Have OpenLineage's own classes, which validate their values, read an event."""
    run, job = event["run"], event["job"]
    event_v2.RunEvent(
        eventTime=event["eventTime"],
        producer=event["producer"],
        eventType=event_v2.RunState[event["eventType"]],
        run=event_v2.Run(runId=run["runId"]),
        job=event_v2.Job(namespace=job["namespace"], name=job["name"]),
    )
    read_facets(run["facets"])
    read_facets(job["facets"])
    for dataset in event["inputs"]:
        read_dataset(event_v2.InputDataset, dataset)
    for dataset in event["outputs"]:
        read_dataset(event_v2.OutputDataset, dataset)


def find_reachable(edges: list[Any], start: Dataset) -> set[Dataset]:
    reached, before = {start}, set[Dataset]()
    while reached != before:
        before = set(reached)
        reached |= {edge.target for edge in edges if edge.source in reached}
    return reached


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
def test_lineage_leads_from_glue_table_to_audience_in_s3(
    lineage_run: LineageRun, emulator: EmulatorProcess, deferrable: bool
) -> None:
    world = World(emulator).build()
    seed = world.write_seed()["dataSource"]["s3Uri"]
    conf = {"role_arn": world.role, "seed_uri": seed, "output_uri": f"s3://{world.bucket}/audiences"}
    file = ROOT / "example_dags" / "example_lookalike_audience.py"
    run = lineage_run.run(world, file, "example_lookalike_audience", conf, deferrable=deferrable)
    assert run["state"] == "success", lineage_run.airflow.run_log[-4000:]
    for event in lineage_run.events:
        check_event(event)

    edges = find_edges(lineage_run.events)
    table = Dataset(f"arn:aws:glue:us-east-1:{world.account}", "table/lookalike/interactions")
    location = run["tasks"]["export"]["xcom"]["output_location"]
    audience = Dataset(f"s3://{world.bucket}", location.removeprefix(f"s3://{world.bucket}/").rstrip("/"))
    owner = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}"
    steps = [
        run["tasks"][task]["xcom"]["return_value"].removeprefix(f"{owner}:")
        for task in ("create_dataset", "create_model", "configure_model", "generate")
    ]
    assert [step.partition("/")[0] for step in steps] == KINDS
    resources = [Dataset(owner, step) for step in steps]
    assert find_reachable(edges, table) == {table, *resources, audience}
    seed_object = Dataset(f"s3://{world.bucket}", seed.removeprefix(f"s3://{world.bucket}/"))
    assert find_reachable(edges, seed_object) == {seed_object, resources[-1], audience}
    assert {dataset for edge in edges for dataset in (edge.source, edge.target)} == {
        table,
        seed_object,
        *resources,
        audience,
    }

    picture = draw(edges)
    drawn = ROOT / "build" / "lineage.svg"
    drawn.parent.mkdir(exist_ok=True)
    drawn.write_text(picture, encoding="utf-8")
    assert PICTURE.read_text(encoding="utf-8") == picture, (
        "docs/pictures/lineage.svg is not current: copy build/lineage.svg"
    )
