"""Asset URIs, their registration with Airflow, and the asset events of a task's outlets."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_cleanroomsml import assets, get_provider_info, operators
from airflow_cleanroomsml._compat import IS_AIRFLOW_2, find_asset_alias_class, find_asset_classes
from airflow_cleanroomsml._resources.data_flow import DataFlow, GlueTable, ServiceResource
from airflow_cleanroomsml.assets import (
    SCHEME,
    build_arn,
    build_event_template,
    build_uri,
    convert_asset_to_openlineage,
    create_asset,
    fill_events,
    sanitize_uri,
)
from tests.helpers.collaboration import collaborate
from tests.helpers.custom_models import Studio
from tests.support import TaskInstance, World, run

ACCOUNT = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
ID = "5d6d2a3e-6f5b-4b1c-9a53-0d0b1c3a7d11"
URI = f"{SCHEME}://us-east-1/123456789012/audience-model/{ID}"
Alias: Any = find_asset_alias_class()
Asset: Any = find_asset_classes()[0]


def build_outlet_events() -> Any:
    """Build the accessor in a task's context through which the task fills its outlet events."""
    return import_module(f"airflow.{'utils' if IS_AIRFLOW_2 else 'sdk.execution_time'}.context").OutletEventAccessors()


@pytest.mark.parametrize(
    "arn",
    [
        f"{ACCOUNT}:training-dataset/{ID}",
        f"{ACCOUNT}:audience-model/{ID}",
        f"{ACCOUNT}:configured-audience-model/{ID}",
        f"{ACCOUNT}:audience-generation-job/{ID}",
        f"{ACCOUNT}:configured-model-algorithm/{ID}",
        f"{ACCOUNT}:configured-model-algorithm/team/{ID}",
        f"{ACCOUNT}:membership/{ID}/trained-model/{ID}",
        f"{ACCOUNT}:membership/{ID}/ml-input-channel/{ID}",
        f"arn:aws-us-gov:cleanrooms-ml:us-gov-west-1:123456789012:audience-model/{ID}",
        f"arn:aws-iso:cleanrooms-ml:us-iso-east-1:123456789012:audience-model/{ID}",
        f"arn:aws-iso-b:cleanrooms-ml:us-isob-east-1:123456789012:audience-model/{ID}",
        f"arn:aws-eusc:cleanrooms-ml:eusc-de-east-1:123456789012:audience-model/{ID}",
    ],
)
def test_uri_converts_to_arn_and_back(arn: str) -> None:
    asset: Any = create_asset(arn=arn)
    assert asset.uri == build_uri(arn)
    assert build_arn(asset.uri) == arn


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (f"{SCHEME}://nowhere/123456789012/audience-model/{ID}", "'nowhere' is not an AWS region"),
        (f"{SCHEME}://us-est-1/123456789012/audience-model/{ID}", "'us-est-1' is not an AWS region"),
        (f"{SCHEME}://us-east-1/12345/audience-model/{ID}", "'12345' is not an AWS account ID of 12 digits"),
        (f"{SCHEME}://us-east-1/{chr(0x661) * 12}/audience-model/{ID}", "is not an AWS account ID of 12 digits"),
        (f"{SCHEME}://us-east-1/123456789012/model/{ID}", f"'model/{ID}' is not the resource part of an ARN"),
        (f"{SCHEME}://us-east-1/123456789012/audience-model", "known kinds: training-dataset, audience-model"),
        (f"{SCHEME}://us-east-1/123456789012/trained-model/{ID}", "is not the resource part of an ARN"),
        (f"{URI}?version=1", "neither a query nor a fragment"),
        (f"s3://us-east-1/123456789012/audience-model/{ID}", f"the scheme must be {SCHEME}"),
    ],
)
def test_error_explains_invalid_uri(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"The form is cleanroomsml://\{region\}") as caught:
        sanitize_uri(urlsplit(uri))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "arn",
    [
        "weekly",
        "arn:aws:s3:::bucket",
        f"arn:aws:cleanrooms:us-east-1:123456789012:x/{ID}",
        f"{ACCOUNT}:audience-model/{ID}\n",
        None,
    ],
)
def test_asset_requires_arn_of_the_service(arn: Any) -> None:
    with pytest.raises(ValueError, match="is not an ARN of Clean Rooms ML"):
        create_asset(arn=arn)


def test_airflow_validates_asset_uri() -> None:
    wrong = f"{SCHEME}://us-east-1/123/audience-model/{ID}"
    if IS_AIRFLOW_2:
        with pytest.warns(UserWarning, match="AWS account ID of 12 digits"):
            Asset(wrong)
    else:
        with pytest.raises(ValueError, match="AWS account ID of 12 digits"):
            Asset(wrong)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Asset(URI).uri == URI


def test_airflow_knows_the_scheme() -> None:
    from airflow.providers_manager import ProvidersManager

    manager: Any = ProvidersManager()
    noun = "dataset" if IS_AIRFLOW_2 else "asset"
    assert getattr(manager, f"{noun}_uri_handlers")[SCHEME] is sanitize_uri
    assert getattr(manager, f"{noun}_factories")[SCHEME] is create_asset
    assert getattr(manager, f"{noun}_to_openlineage_converters")[SCHEME] is convert_asset_to_openlineage


def test_provider_declares_functions() -> None:
    info: Any = get_provider_info()
    (entry,) = info["asset-uris"]
    assert info["dataset-uris"] == [entry]
    assert entry["schemes"] == [SCHEME]
    assert {entry[key] for key in ("handler", "factory", "to_openlineage_converter")} == {
        f"{assets.__name__}.{function.__name__}"
        for function in (sanitize_uri, create_asset, convert_asset_to_openlineage)
    }


def test_asset_converts_to_openlineage_dataset() -> None:
    dataset = convert_asset_to_openlineage(Asset(URI), None)
    assert (dataset.namespace, dataset.name) == (ACCOUNT, f"audience-model/{ID}")


def build_generation_task(world: World, *outlets: Any, **more: Any) -> Any:
    seed: Any = world.write_seed()
    return operators.CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="t",
        name="job",
        configured_audience_model_arn=world.create_configured_model(),
        seed_audience=seed,
        waiter_delay=0.2,
        outlets=list(outlets),
        **more,
    )


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
def test_event_has_arn_and_metrics(world: World, deferrable: bool) -> None:
    events, asset, alias = build_outlet_events(), Asset("audiences"), Alias("audience")
    events[asset].extra["team"] = "ads"
    task_run = run(build_generation_task(world, asset, alias, deferrable=deferrable), outlet_events=events)
    extra = {"audience_generation_job_arn": task_run.result, "metrics": task_run.pushed["metrics"]}
    assert events[asset].extra == {"team": "ads", **extra}
    ((uri, alias_extra),) = find_alias_events(events[alias])
    assert (build_arn(uri), alias_extra) == (task_run.result, extra)


def find_alias_events(accessor: Any) -> list[tuple[str, Any]]:
    if IS_AIRFLOW_2:
        return [(event["dest_dataset_uri"], event["extra"]) for event in accessor.dataset_alias_events]
    return [(event.dest_asset_key.uri, event.extra) for event in accessor.asset_alias_events]


@pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2.11 has no references to assets")
def test_asset_reference_counts_as_asset() -> None:
    assert isinstance(Asset.ref(name="audiences"), find_asset_classes())


def test_uri_of_export_is_its_location(world: World) -> None:
    events, alias = build_outlet_events(), Alias("audience")
    export = operators.CleanRoomsMLStartAudienceExportJobOperator(
        task_id="t",
        name="export",
        audience_generation_job_arn=world.generate_audience(),
        audience_size={"type": "PERCENTAGE", "value": 10},
        waiter_delay=0.2,
        outlets=[alias],
    )
    location = run(export, outlet_events=events).result["output_location"]
    ((uri, extra),) = find_alias_events(events[alias])
    assert (uri, extra["output_location"]) == (location.rstrip("/"), location)


def test_uri_of_cleanrooms_resource_is_its_arn() -> None:
    arn = f"arn:aws:cleanrooms:us-east-1:123456789012:membership/{ID}/configuredaudiencemodelassociation/{ID}"
    events, alias = build_outlet_events(), Alias("associations")
    context: Any = {"outlet_events": events}
    fill_events(context, [alias], DataFlow(outputs=[ServiceResource(arn)], members={"arn": arn}))
    assert find_alias_events(events[alias]) == [(arn, {"arn": arn})]


@pytest.mark.parametrize(
    ("catalog", "name"), [(None, "sales.clicks"), ("210987654321", "210987654321/sales.clicks")], ids=["own", "other"]
)
def test_uri_of_table_includes_foreign_catalog(catalog: str | None, name: str) -> None:
    events, alias = build_outlet_events(), Alias("tables")
    context: Any = {"outlet_events": events}
    fill_events(context, [alias], DataFlow(outputs=[GlueTable("sales", "clicks", catalog)]))
    assert find_alias_events(events[alias]) == [(name, {})]


class BrokenEvents:
    """Outlet events that cannot be filled."""

    def __getitem__(self, outlet: Any) -> Any:
        raise ValueError(f"no event for {outlet}")


def test_task_succeeds_if_outlet_events_cannot_be_filled(world: World, caplog: pytest.LogCaptureFixture) -> None:
    create = operators.CleanRoomsMLCreateAudienceModelOperator(
        task_id="t",
        name="model",
        training_dataset_arn=world.create_dataset(),
        waiter_delay=0.2,
        # A retry would not find the model, and would pay for a second one.
        durable=False,
        outlets=[Asset("models")],
    )
    arn = run(create, outlet_events=BrokenEvents()).result
    assert [model["audienceModelArn"] for model in world.ml.list_audience_models()["audienceModels"]] == [arn]
    assert "Could not add the resource to the asset events of the task's outlets" in caplog.text


def test_alias_gets_no_event_without_promotion(world: World) -> None:
    older, configured_model = world.train_model("older"), world.create_configured_model()
    events, asset, alias = build_outlet_events(), Asset("models"), Alias("in-service")
    promote = operators.CleanRoomsMLPromoteAudienceModelOperator(
        task_id="t", configured_audience_model_arn=configured_model, audience_model_arn=older, outlets=[asset, alias]
    )
    kept_model = run(promote, outlet_events=events).result
    assert events[asset].extra == {"configured_audience_model_arn": configured_model, "audience_model_arn": kept_model}
    assert find_alias_events(events[alias]) == []


def test_association_event_has_arn(world: World) -> None:
    events, asset, alias = build_outlet_events(), Asset("offers"), Alias("offer")
    create = operators.CleanRoomsCreateConfiguredAudienceModelAssociationOperator(
        task_id="t",
        membership_identifier=collaborate(world).find_membership(world),
        configured_audience_model_arn=world.create_configured_model(),
        configured_audience_model_association_name="offer",
        manage_resource_policies=True,
        outlets=[asset, alias],
    )
    ti = TaskInstance()
    # A retry finds the association that the first try created.
    for attempt in (ti, ti.make_next_try()):
        task_run = run(create, ti=attempt, outlet_events=events)
        arn = task_run.pushed["configured_audience_model_association_arn"]
        assert arn.endswith(task_run.result)
        assert events[asset].extra["configured_audience_model_association_arn"] == arn
        assert {uri for uri, _ in find_alias_events(events[alias])} == {arn}


def build_create_task(studio: Studio, query: Any, deferrable: bool, *outlets: Any) -> Any:
    return operators.CleanRoomsMLCreateMLInputChannelOperator(
        task_id="t",
        **studio.soon,
        name="channel",
        configured_model_algorithm_associations=[studio.association],
        input_channel=query,
        retention_in_days=1,
        deferrable=deferrable,
        outlets=list(outlets),
    )


def build_call_task(studio: Studio, query: Any, _: bool, *outlets: Any) -> Any:
    parameters = {
        **studio.mine,
        "name": "channel",
        "configured_model_algorithm_associations": [studio.association],
        "input_channel": query,
        "retention_in_days": 1,
    }
    return operators.CleanRoomsMLCallOperator(
        task_id="t", operation="create_ml_input_channel", parameters=parameters, outlets=list(outlets)
    )


@pytest.mark.parametrize(
    ("make", "deferrable"),
    [(build_create_task, False), (build_create_task, True), (build_call_task, False)],
    ids=["sync", "deferred", "any operation"],
)
def test_events_omit_sql(studio: Studio, make: Callable[..., Any], deferrable: bool) -> None:
    query = studio.build_input_channel("SELECT secret FROM events WHERE path = 's3://secret/x'")
    events, asset, alias = build_outlet_events(), Asset("channels"), Alias("channel")
    task_run = run(make(studio, query, deferrable, asset, alias), outlet_events=events)
    ((uri, extra),) = find_alias_events(events[alias])
    assert extra == events[asset].extra
    assert extra["ml_input_channel_arn"] == build_arn(uri)
    assert "secret" not in json.dumps([uri, extra, task_run.pushed])


def test_a_template_reads_the_newest_event() -> None:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(undefined=StrictUndefined)
    template = environment.from_string(build_event_template("audience_model_arn", "params.arn"))
    events = {
        "a": [{"timestamp": 1, "extra": {"audience_model_arn": "old"}}, {"timestamp": 4, "extra": {}}],
        "b": [{"timestamp": 3, "extra": {"audience_model_arn": "new"}}],
    }
    for key in ("triggering_asset_events", "triggering_dataset_events"):
        assert template.render({key: events, "params": {"arn": "default"}}) == "new"
        assert template.render({key: {}, "params": {"arn": "default"}}) == "default"
    with pytest.raises(Exception, match="No last item"):
        environment.from_string(build_event_template("arn")).render(triggering_asset_events={})
