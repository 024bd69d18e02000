"""What a task reads and writes, as OpenLineage's datasets and facets; imported only when OpenLineage asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from attrs import define
from openlineage.client.event_v2 import Dataset, InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    OutputDatasetFacet,
    RunFacet,
    column_lineage_dataset,
    dataset_version_dataset,
    external_query_run,
    lifecycle_state_change_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from airflow_cleanroomsml._requests.arns import parse_arn
from airflow_cleanroomsml._resources.data_flow import (
    Data,
    DataFlow,
    GlueTable,
    S3Location,
    ServiceResource,
    name_resource,
    name_s3_location,
)
from airflow_cleanroomsml._resources.lookup import BASE

#: The key of the run facet; its prefix makes it a custom facet (OpenLineage specification, Custom Facet Naming).
RUN_FACET = "cleanroomsml_resource"
_DROP = lifecycle_state_change_dataset.LifecycleStateChangeDatasetFacet(
    lifecycleStateChange=lifecycle_state_change_dataset.LifecycleStateChange.DROP
)


@define
class ResourceRunFacet(RunFacet):
    """
    The resource that a task is about.

    :param members: Its identifiers and outputs, among them ARN and metrics, by their XCom keys.
    """

    members: dict[str, Any]


def build_lineage(flow: DataFlow, *, is_complete: bool) -> OperatorLineage[Any, Any]:
    """
    Build the lineage of a task.

    :param is_complete: Whether the task has succeeded; otherwise it has neither written nor deleted anything that others may read.
    """
    owner = _find_owner(flow)
    inputs = _build_datasets(flow.inputs, owner, InputDataset)
    outputs: list[Dataset] = []
    if is_complete:
        outputs = _build_datasets(flow.outputs, owner, OutputDataset)
        for output in outputs:
            _add_output_facets(output, flow, inputs)
        for deleted in _build_datasets(flow.deleted, owner, OutputDataset):
            deleted.facets = {**(deleted.facets or {}), "lifecycleStateChange": _DROP}
            outputs.append(deleted)
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets=_build_run_facets(flow))


def _find_owner(flow: DataFlow) -> tuple[str, str] | None:
    """Find the region and the account of the caller: those of the resources in its request and response."""
    # Glue tables have no ARN in a request, but their catalog is by default the one of the account and region that asks.
    resources = [data for data in (*flow.outputs, *flow.inputs) if isinstance(data, ServiceResource)]
    arn = parse_arn(resources[0].arn) if resources else None
    return (arn.region, arn.account) if arn else None


def _build_datasets(data: Iterable[Data], owner: tuple[str, str] | None, kind: type[Dataset]) -> list[Dataset]:
    named = [(each, _name(each, owner)) for each in data]
    return [kind(namespace=name[0], name=name[1], facets=_build_facets(each)) for each, name in named if name]


def _name(data: Data, owner: tuple[str, str] | None) -> tuple[str, str] | None:
    """Return namespace and name of a dataset (OpenLineage specification, Naming); None if they are not known."""
    if isinstance(data, S3Location):
        return name_s3_location(data)
    if isinstance(data, ServiceResource):
        return name_resource(data)
    if owner is None:
        return None
    region, account = owner
    return f"arn:aws:glue:{region}:{data.catalog or account}", f"table/{data.database}/{data.table}"


def _build_facets(data: Data) -> dict[str, DatasetFacet]:
    return {"schema": _build_schema(data)} if isinstance(data, GlueTable) and data.columns else {}


def _build_schema(table: GlueTable) -> schema_dataset.SchemaDatasetFacet:
    # The types of the columns in Glue are not in the request; what it has says what the model uses them for.
    fields = [
        schema_dataset.SchemaDatasetFacetFields(name=name, description=", ".join(types) or None)
        for name, types in table.columns
    ]
    return schema_dataset.SchemaDatasetFacet(fields=fields)


def _add_output_facets(output: Dataset, flow: DataFlow, inputs: Sequence[Dataset]) -> None:
    """Add what is known of an output: the columns that it takes from a table, its version, its size."""
    facets: dict[str, DatasetFacet] = dict(output.facets or {})
    tables = [table for table in flow.inputs if isinstance(table, GlueTable) and table.columns]
    # With several inputs it is not known which column comes from which.
    if len(tables) == len(inputs) == 1:
        facets["schema"] = _build_schema(tables[0])
        facets["columnLineage"] = _build_column_lineage(tables[0], inputs[0])
    if (version := flow.members.get("version_identifier")) not in (None, BASE):
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=version)
    output.facets = facets
    # Without the size in bytes: whether AWS's GB are 10^9 bytes is not documented.
    rows, files = (flow.members.get(name) for name in ("number_of_records", "number_of_files"))
    if isinstance(output, OutputDataset) and rows is not None:
        statistics: OutputDatasetFacet = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=int(rows), fileCount=None if files is None else int(files)
        )
        output.outputFacets = {"outputStatistics": statistics}


def _build_column_lineage(table: GlueTable, source: Dataset) -> column_lineage_dataset.ColumnLineageDatasetFacet:
    identity = column_lineage_dataset.Transformation(type="DIRECT", subtype="IDENTITY")
    fields = {
        name: column_lineage_dataset.Fields(
            inputFields=[
                column_lineage_dataset.InputField(
                    namespace=source.namespace, name=source.name, field=name, transformations=[identity]
                )
            ]
        )
        for name, _ in table.columns
    }
    return column_lineage_dataset.ColumnLineageDatasetFacet(fields=fields)


def _build_run_facets(flow: DataFlow) -> dict[str, RunFacet]:
    facets: dict[str, RunFacet] = {}
    if members := flow.public_members:
        facets[RUN_FACET] = ResourceRunFacet(members=members)
    if query := flow.members.get("protected_query_identifier"):
        # Not its SQL, which is confidential.
        facets["externalQuery"] = external_query_run.ExternalQueryRunFacet(externalQueryId=query, source="cleanrooms")
    return facets
