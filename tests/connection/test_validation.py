"""Invalid settings are named and rejected before anything is sent; failures that may not recur are left to a retry."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from airflow import DAG
from airflow import __version__ as airflow_version
from botocore.loaders import Loader

from airflow_cleanroomsml._compat import AirflowFailException
from airflow_cleanroomsml._connection.regions import require_region
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, ConfigurationError, WaitTimeoutError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import CleanRoomsMLCallOperator, CleanRoomsMLCreateAudienceModelOperator
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceModelSensor
from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger
from tests.support import World, run
from tests.test_triggers import build_wait, run_wait

Caller = Callable[..., Any]


def build_arn(world: World, kind: str = "audience-model") -> str:
    return f"arn:aws:cleanrooms-ml:us-east-1:{world.account}:{kind}/00000000-0000-4000-8000-000000000000"


def list_audience_models(**arguments: Any) -> Any:
    return run(CleanRoomsMLCallOperator(task_id="t", operation="list_audience_models", **arguments)).result


def create_audience_model(world: World, **arguments: Any) -> Any:
    dataset = build_arn(world, "training-dataset")
    return run(
        CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn=dataset, **arguments)
    ).result


def run_sensor(world: World, **arguments: Any) -> Any:
    return run(CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=build_arn(world), **arguments)).result


def run_trigger(world: World, **arguments: Any) -> Any:
    error = run_wait(build_wait(build_arn(world)), **arguments).get("error", "")
    assert error.startswith("ConfigurationError: "), error
    raise ConfigurationError(error)


def call_hook(world: World, botocore_config: Any = None, **arguments: Any) -> Any:
    return CleanRoomsMLHook(config=botocore_config, **arguments).call("list_audience_models")


#: Every kind of caller of the service: operators that read and create, a sensor in the worker and deferred, a trigger, a hook.
CALLERS: dict[str, Caller] = {
    "call": lambda _, **arguments: list_audience_models(**arguments),
    "create": create_audience_model,
    "sensor": run_sensor,
    "deferred": partial(run_sensor, deferrable=True),
    "trigger": run_trigger,
    "hook": call_hook,
}
needs_malformed_extras = pytest.mark.skipif(
    airflow_version.startswith("3.0."),
    reason="Airflow 3.0 itself rejects a connection variable with a malformed extra",
)
every_caller = pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS)


@pytest.fixture
def define_connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Return a function that defines the connection ``prod`` and returns the argument that selects it."""

    def define_connection(**fields: Any) -> dict[str, str]:
        monkeypatch.setenv("AIRFLOW_CONN_PROD", json.dumps({"conn_type": "aws", **fields}))
        return {"aws_conn_id": "prod"}

    return define_connection


def expect_error(caller: Caller, world: World, **arguments: Any) -> str:
    """Return the message of the ``ConfigurationError``, which is final and raised before anything is sent."""
    with pytest.raises(ConfigurationError) as caught:
        caller(world, **arguments)
    assert isinstance(caught.value, AirflowFailException)
    assert world.calls == []
    return str(caught.value)


class TestRenderedTemplates:
    """A template that renders to the text None, True or False sets that value."""

    @pytest.mark.parametrize("name", ["aws_conn_id", "region_name", "verify", "botocore_config"])
    def test_text_none_counts_as_unset(
        self, empty_world: World, name: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert list_audience_models(**{name: "None"}) == {"audienceModels": []}
        assert f'{name} rendered to "None"' in caplog.text + "".join(capsys.readouterr())
        assert list_audience_models(**{name: None}) == {"audienceModels": []}

    @pytest.mark.parametrize(
        ("text", "value"),
        [("True", True), ("true", True), ("False", False), (" FALSE ", False), (False, False), (True, True)],
    )
    def test_verify_is_bool(self, empty_world: World, text: Any, value: bool) -> None:
        assert CleanRoomsMLHook(verify=text).verify is value
        assert CleanRoomsMLWaitTrigger(wait={}, verify=text).serialize()[1]["verify"] is value

    @pytest.mark.parametrize("native", [True, False])
    def test_native_and_text_rendering_agree(self, empty_world: World, native: bool) -> None:
        start = datetime(2026, 1, 1, tzinfo=timezone.utc)
        with DAG("d", schedule=None, start_date=start, render_template_as_native_obj=native):
            task = CleanRoomsMLCallOperator(
                task_id="t",
                operation="list_audience_models",
                aws_conn_id="{{ none }}",
                region_name="{{ params.none }}",
                verify="{{ 1 > 2 }}",
            )
        assert run(task, params={"none": None}).result == {"audienceModels": []}
        assert (task.hook.aws_conn_id, task.hook.region_name, task.hook.verify) == (None, None, False)
        assert task.connection == {"aws_conn_id": None, "region_name": None, "verify": False, "botocore_config": None}

    def test_equal_connections_share_a_key(self) -> None:
        from_text = CleanRoomsMLWaitTrigger(wait={}, region_name="None", verify="false", botocore_config=None)
        from_values = CleanRoomsMLWaitTrigger(wait={}, region_name=None, verify=False)
        assert from_text.connection_key == from_values.connection_key

    @pytest.mark.parametrize(
        ("options", "read_timeout"),
        [
            ('{"read_timeout": 5}', 5),
            ("{'read_timeout': 5}", 5),
            ({"read_timeout": "5"}, 5),
            ({"read_timeout": "None"}, 60),
            ({"read_timeout": None}, None),
            ({"read_timeout": 0.5, "tcp_keepalive": "True"}, 0.5),
        ],
    )
    def test_client_options_are_converted(self, empty_world: World, options: Any, read_timeout: Any) -> None:
        config: Any = CleanRoomsMLHook(config=options).config
        assert config.read_timeout == read_timeout
        assert config.tcp_keepalive in (None, True)

    def test_numeric_conn_id_becomes_text(self) -> None:
        conn_id: Any = 12
        assert CleanRoomsMLWaitTrigger(wait={}, aws_conn_id=conn_id).connection["aws_conn_id"] == "12"

    def test_extra_of_uri_is_converted(self, empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """All values in the extra of a URI are text."""
        monkeypatch.setenv("AIRFLOW_CONN_PROD", "aws://?verify=False&region_name=None")
        hook = CleanRoomsMLHook("prod")
        assert (hook.verify, hook.region_name) == (False, None)

    @pytest.mark.parametrize("extra", ['{"verify": "False", "region_name": "None"}', '{"verify": false}'])
    def test_extra_of_json_is_converted(
        self, empty_world: World, define_connection: Callable[..., Any], extra: str
    ) -> None:
        hook = CleanRoomsMLHook(**define_connection(extra=extra))
        assert (hook.verify, hook.region_name) == (False, None)
        assert hook.call("list_audience_models") == {"audienceModels": []}


class TestArguments:
    @every_caller
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"region_name": ""}, "region_name: '' is blank"),
            ({"region_name": "us east"}, "region_name: 'us east' is not an AWS region"),
            ({"region_name": "US-EAST-1"}, "did you mean 'us-east-1'"),
            (
                {"region_name": "us-est-1"},
                r"region_name: 'us-est-1' is not an AWS region \(did you mean 'us-west-1' or 'us-east-1'\?\)",
            ),
            ({"region_name": True}, "region_name: True"),
            ({"aws_conn_id": " "}, "aws_conn_id: ' ' is blank"),
            ({"aws_conn_id": False}, "aws_conn_id: False"),
            ({"verify": ""}, "verify: '' is blank"),
            ({"verify": 1}, "verify: 1 is of type int"),
            ({"verify": "/no/such/bundle.pem"}, "verify: '/no/such/bundle.pem'.*No such file"),
            ({"botocore_config": {"conect_timeout": 3}}, "botocore_config.conect_timeout.*'connect_timeout'"),
            ({"botocore_config": "fast"}, "botocore_config: .*must be a mapping"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_error_names_argument(
        self, empty_world: World, caller: Caller, arguments: dict[str, Any], message: str
    ) -> None:
        assert re.search(message, expect_error(caller, empty_world, **arguments))

    @pytest.mark.parametrize(
        "region",
        ["None", "True", "us-east", "east-1", "aws-global", "us-east-1\n", "localhost", "us-east-1.evil.example"],
    )
    def test_invalid_region_is_rejected(self, empty_world: World, region: str) -> None:
        with pytest.raises(ConfigurationError, match="region_name"):
            CleanRoomsMLHook(config={"region_name": region}).call("list_audience_models")

    @pytest.mark.parametrize(
        "region", ["us-gov-west-1", "cn-north-1", "eu-central-7", "us-iso-east-1", "fips-us-west-2"]
    )
    def test_plausible_region_is_used(self, empty_world: World, region: str) -> None:
        assert CleanRoomsMLHook(region_name=region).conn.meta.region_name in region

    def test_unknown_region_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("WARNING"):
            assert CleanRoomsMLHook(None, region_name="us-east-9").conn.meta.region_name == "us-east-9"
        assert re.search(
            r"region_name: 'us-east-9' is not .* \(did you mean 'us-east-2' or 'us-east-1'\?\)", caplog.text
        )

    def test_region_of_get_client_type_is_checked(self, empty_world: World) -> None:
        assert CleanRoomsMLHook().get_client_type("us-west-2").meta.region_name == "us-west-2"
        with pytest.raises(ConfigurationError, match="region_name: 'nowhere' is not an AWS region"):
            CleanRoomsMLHook().get_client_type("nowhere")

    @pytest.mark.parametrize("source", ["region_name", "botocore_config.region_name", "AWS_DEFAULT_REGION", "file"])
    def test_unknown_region_is_logged_once(
        self, source: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        arguments: dict[str, Any] = {
            "region_name": {"region_name": "us-east-9"},
            "botocore_config.region_name": {"config": {"region_name": "us-east-9"}},
        }
        if source == "AWS_DEFAULT_REGION":
            monkeypatch.setenv(source, "us-east-9")
        if source == "file":
            monkeypatch.delenv("AWS_DEFAULT_REGION")
            (tmp_path / "config").write_text("[default]\nregion = us-east-9\n")
            monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        with caplog.at_level("WARNING"):
            hook = CleanRoomsMLHook(None, **arguments.get(source, {}))
            for client in (hook.conn, hook.conn_once, hook.of("cleanrooms").conn):
                assert client.meta.region_name == "us-east-9"
        warnings = [record.getMessage() for record in caplog.records if "is not an AWS region" in record.getMessage()]
        assert len(warnings) == 1
        assert warnings[0].startswith("region in boto3's configuration file" if source == "file" else source)

    @pytest.mark.parametrize("region", ["us-est-1", "eu-wset-2", "us-gov-est-1", "ap-sotheast-1", "fips-us-est-1"])
    def test_error_suggests_region(self, empty_world: World, region: str) -> None:
        with pytest.raises(ConfigurationError, match=f"{region}.*did you mean"):
            CleanRoomsMLHook(region_name=region).call("list_audience_models")

    def test_regions_of_botocore_are_accepted(self) -> None:
        regions = {
            region for partition in Loader().load_data("partitions")["partitions"] for region in partition["regions"]
        }
        for region in regions:
            if not region.endswith("-global"):
                require_region(region, "region_name")
                # A future region that botocore does not know yet differs only in its number.
                require_region(re.sub(r"\d+$", "19", region), "region_name")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"connect_timeout": "soon"}, "botocore_config.connect_timeout: 'soon' is a string; must be a number"),
            ({"read_timeout": 0}, "botocore_config.read_timeout: 0 is out of range"),
            ({"read_timeout": True}, "must be a number"),
            ({"max_pool_connections": 2.5}, "botocore_config.max_pool_connections: 2.5 is a float; must be an integer"),
            (
                {"use_fips_endpoint": "yes"},
                "botocore_config.use_fips_endpoint: 'yes' is a string; must be true or false",
            ),
            ({"retries": 3}, "botocore_config.retries: .* must be a mapping"),
            ({"retries": {"max_attempt": 3}}, "retries.max_attempt: no such member \\(did you mean 'max_attempts'"),
            ({"retries": {"total_max_attempts": 0}}, "retries.total_max_attempts: 0 is out of range"),
            ({"retries": {"mode": "fast"}}, "retries.mode: 'fast' is unknown"),
            ({"retries": {"mode": ["standard"]}}, "retries.mode: .*must be a string"),
            ({"proxies": "http://proxy:3128"}, "botocore_config.proxies: .*must be a mapping"),
            ({"proxies": {"https": "http://proxy:port"}}, "botocore_config.proxies.https: ... is not a URL"),
            ({"proxies": {"https": "http://localhost:99999"}}, "botocore_config.proxies.https: ... is not a URL"),
            ({"proxies": {"https": "http://[localhost"}}, "botocore_config.proxies.https: ... is not a URL"),
            ({"proxies": {"https": "socks5://localhost:1080"}}, "botocore_config.proxies.https: ... is not a URL"),
            (
                {"proxies": {"https": "http://u:p\u00e9@localhost"}},
                "proxies.https: user or password of ... is not ASCII; both must be ASCII",
            ),
            ({"read_timeout": 1e12}, "botocore_config.read_timeout: 1000000000000.0 is out of range"),
            ({"user_agent_extra": "team\na"}, "botocore_config.user_agent_extra: .* does not match"),
            ({"proxies_config": {"proxy_ca_bundel": "/x"}}, "did you mean 'proxy_ca_bundle'"),
            (
                {"proxies_config": {"proxy_ca_bundle": "/no/such"}},
                "botocore_config.proxies_config.proxy_ca_bundle: '/no/such'",
            ),
            ({"client_cert": "/no/such"}, "botocore_config.client_cert: '/no/such'"),
            ({"client_cert": ["/no/such", "/either"]}, "botocore_config.client_cert"),
            ({"s3": "path"}, "botocore_config"),
            ({"s3": {"addressing_style": "odd"}}, "botocore_config"),
            ({"signature_version": "v9"}, "botocore_config.signature_version: 'v9' is unknown"),
            ({"defaults_mode": "odd"}, "odd"),
            ({5: 3}, "botocore_config.5: no such option"),
            ([1], r"botocore_config: \*{3} is of type list; must be a mapping"),
        ],
        ids=str,
    )
    def test_bad_option_is_rejected(self, empty_world: World, options: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            CleanRoomsMLHook(config=options).call("list_audience_models")
        assert empty_world.calls == []

    @pytest.mark.parametrize(
        ("module", "name", "options"),
        [
            ("botocore.config", "Config.OPTION_DEFAULTS", {"connect_timeout": 3, "us_dualstack_endpoint": True}),
            ("botocore.auth", "AUTH_TYPE_MAPS", {"signature_version": "v9"}),
        ],
    )
    def test_option_is_unchecked_without_botocore_list(
        self, empty_world: World, monkeypatch: pytest.MonkeyPatch, module: str, name: str, options: dict[str, Any]
    ) -> None:
        from airflow_cleanroomsml._connection.client_options import convert_options

        with pytest.raises(ConfigurationError):
            convert_options(options)
        *path, attribute = name.split(".")
        owner = import_module(module)
        for part in path:
            owner = getattr(owner, part)
        monkeypatch.delattr(owner, attribute)
        assert convert_options(options) == options

    def test_error_lists_every_bad_option(self, empty_world: World) -> None:
        with pytest.raises(ConfigurationError, match="(?s)conect_timeout.*read_timeout"):
            list_audience_models(botocore_config={"conect_timeout": 3, "read_timeout": "x"})

    def test_client_cert_becomes_a_tuple(self, empty_world: World) -> None:
        from airflow_cleanroomsml._connection.client_options import convert_options

        assert convert_options({"client_cert": ["c", "k"]}) == {"client_cert": ("c", "k")}


class TestCABundles:
    @pytest.fixture(params=["missing", "directory", "empty", "text", "unreadable"])
    def bad_bundle(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        path = tmp_path / request.param
        if request.param == "directory":
            path.mkdir()
        elif request.param == "unreadable":
            path.symlink_to(path)
        elif request.param != "missing":
            path.write_text("" if request.param == "empty" else "no certificate")
        return str(path)

    def test_argument_is_checked(self, empty_world: World, bad_bundle: str) -> None:
        assert f"verify: {bad_bundle!r}" in expect_error(create_audience_model, empty_world, verify=bad_bundle)

    def test_extra_is_checked(self, empty_world: World, bad_bundle: str, define_connection: Callable[..., Any]) -> None:
        arguments = define_connection(extra=json.dumps({"verify": bad_bundle}))
        assert f"verify in the extra of the connection 'prod': {bad_bundle!r}" in expect_error(
            create_audience_model, empty_world, **arguments
        )

    @pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
    def test_environment_is_checked(
        self, empty_world: World, bad_bundle: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, bad_bundle)
        monkeypatch.setenv("AWS_ENDPOINT_URL", empty_world.emulator.url.replace("http:", "https:"))
        assert f"{name}: {bad_bundle!r}" in expect_error(create_audience_model, empty_world)

    @pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
    @every_caller
    def test_blank_variable_is_rejected(
        self, empty_world: World, caller: Caller, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, "")
        monkeypatch.setenv("AWS_ENDPOINT_URL", empty_world.emulator.url.replace("http:", "https:"))
        assert f"{name}: '' is blank" in expect_error(caller, empty_world)

    def test_configuration_file_is_checked(
        self, empty_world: World, bad_bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {bad_bundle}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", empty_world.emulator.url.replace("http:", "https:"))
        assert f"ca_bundle in boto3's configuration file: {bad_bundle!r}" in expect_error(
            create_audience_model, empty_world
        )

    def test_valid_bundle_is_used(self, empty_world: World) -> None:
        bundle = ssl.get_default_verify_paths().cafile or pytest.skip("this machine has no CA bundle")
        assert CleanRoomsMLHook(verify=bundle).call("list_audience_models") == {"audienceModels": []}

    def test_bundle_is_ignored_without_tls(self, empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such")
        assert list_audience_models() == {"audienceModels": []}

    def test_bundle_is_ignored_if_verify_is_false(self, empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
        hook = CleanRoomsMLHook(verify=False, config={"retries": {"total_max_attempts": 1}})
        with pytest.raises(CleanRoomsMLError) as caught:
            hook.call("list_audience_models")
        assert not isinstance(caught.value, ConfigurationError)

    def test_bundle_for_sts_is_checked(
        self, empty_world: World, define_connection: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The amazon provider ignores the ``verify`` of the hook when it assumes a role."""
        monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", empty_world.emulator.url.replace("http:", "https:"))
        arguments = define_connection(extra=json.dumps({"role_arn": empty_world.role}))
        config = {"connect_timeout": 1, "retries": {"total_max_attempts": 1}}
        assert "AWS_CA_BUNDLE: '/no/such'" in expect_error(
            create_audience_model, empty_world, **arguments, verify=False, botocore_config=config
        )


class TestEndpoints:
    BAD_URLS = (
        "localhost:5000",
        "127.0.0.1",
        "https://",
        "ftp://localhost",
        "//localhost:5000",
        "http://localhost:port",
        "http://my host:5000",
        "http://[::1]x:5000",
        "http://localhost:5000 ",
    )

    @pytest.mark.parametrize("url", BAD_URLS)
    @pytest.mark.parametrize(
        ("extra", "source"),
        [
            (lambda url: {"endpoint_url": url}, "endpoint_url in the extra of the connection 'prod'"),
            (
                lambda url: {"service_config": {"cleanroomsml": {"endpoint_url": url}}},
                "service_config.cleanroomsml.endpoint_url in the extra of the connection 'prod'",
            ),
            (
                lambda url: {"service_config": {"sts": {"endpoint_url": url}}},
                "service_config.sts.endpoint_url in the extra of the connection 'prod'",
            ),
        ],
    )
    def test_extra_is_checked(
        self, empty_world: World, define_connection: Callable[..., Any], extra: Any, source: str, url: str
    ) -> None:
        assert f"{source}: {url!r}" in expect_error(
            create_audience_model, empty_world, **define_connection(extra=json.dumps(extra(url)))
        )

    @pytest.mark.parametrize("url", BAD_URLS)
    @pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLEANROOMSML"])
    def test_environment_is_checked(
        self, empty_world: World, name: str, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, url)
        assert f"{name}: {url!r}" in expect_error(create_audience_model, empty_world)

    @every_caller
    def test_every_caller_rejects_bad_url(
        self, empty_world: World, caller: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:5000")
        assert "AWS_ENDPOINT_URL: 'localhost:5000'" in expect_error(caller, empty_world)

    def test_cleanrooms_url_is_checked(self, empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLEANROOMS", "localhost")
        assert list_audience_models() == {"audienceModels": []}
        with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL_CLEANROOMS: 'localhost'"):
            run(CleanRoomsMLCallOperator(task_id="t", operation="list_collaborations", service="cleanrooms"))

    def test_sts_url_is_checked(
        self, empty_world: World, define_connection: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "sts.local")
        arguments = define_connection(extra=json.dumps({"role_arn": empty_world.role}))
        assert "AWS_ENDPOINT_URL_STS: 'sts.local'" in expect_error(create_audience_model, empty_world, **arguments)

    def test_configuration_file_is_checked(
        self, empty_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "config").write_text("[default]\nendpoint_url = localhost:5000\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        assert "configuration file" in expect_error(create_audience_model, empty_world)

    def test_url_of_other_service_is_ignored(self, empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "localhost")
        assert list_audience_models() == {"audienceModels": []}

    def test_password_of_url_is_not_shown(self, empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "user:marker@localhost:80")
        assert "marker" not in expect_error(create_audience_model, empty_world)


class TestConnections:
    @every_caller
    def test_every_caller_rejects_missing_key(
        self, empty_world: World, caller: Caller, define_connection: Callable[..., Any]
    ) -> None:
        assert "login is set, but password is missing" in expect_error(
            caller, empty_world, **define_connection(login="AKIA")
        )

    @needs_malformed_extras
    @every_caller
    def test_every_caller_rejects_bad_extra(
        self, empty_world: World, caller: Caller, define_connection: Callable[..., Any]
    ) -> None:
        assert "not a JSON object" in expect_error(
            caller, empty_world, **define_connection(extra="region_name=us-east-1")
        )

    @needs_malformed_extras
    @pytest.mark.parametrize("extra", ["region_name=us-east-1", "[1]", "null", '"text"', " "], ids=repr)
    def test_extra_must_be_a_json_object(
        self, empty_world: World, define_connection: Callable[..., Any], extra: str
    ) -> None:
        message = expect_error(
            create_audience_model,
            empty_world,
            **define_connection(login=empty_world.account, password="marker", extra=extra),
        )
        assert "aws_conn_id: the connection 'prod' has an extra that is not a JSON object" in message
        assert "marker" not in message

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"login": "AKIA"}, "login is set, but password is missing"),
            ({"login": "AKIA", "password": ""}, "login is set, but password is missing"),
            ({"password": "marker"}, "password is set, but login is missing"),
            (
                {"extra": '{"aws_access_key_id": "AKIA"}'},
                "aws_access_key_id in its extra is set, but aws_secret_access_key in its extra is missing",
            ),
            ({"extra": '{"aws_secret_access_key": "marker"}'}, "but aws_access_key_id in its extra is missing"),
            (
                {"extra": '{"session_kwargs": {"aws_access_key_id": "AKIA"}}'},
                "in session_kwargs of its extra is set, but",
            ),
            ({"extra": '{"aws_session_token": "marker"}'}, "aws_session_token is set, but the access key is missing"),
        ],
        ids=str,
    )
    def test_missing_key_is_named(
        self, empty_world: World, define_connection: Callable[..., Any], fields: dict[str, str], expected: str
    ) -> None:
        message = expect_error(create_audience_model, empty_world, **define_connection(**fields))
        assert expected in message
        assert "marker" not in message
        assert "AKIA" not in message

    def test_default_connection_is_checked(self, empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "login": "AKIA"}))
        assert "login is set, but password is missing" in expect_error(create_audience_model, empty_world)

    @pytest.mark.parametrize(
        "fields",
        [
            {"login": "{account}", "password": "secret"},
            {"extra": '{"aws_access_key_id": "{account}", "aws_secret_access_key": "secret"}'},
            {
                "extra": '{"aws_access_key_id": "{account}", "aws_secret_access_key": "secret", "aws_session_token": "t"}',
                "login": "a label",
            },
            {"extra": "{}"},
            {"extra": '{"region_name": "us-east-1", "role_arn": "arn:aws:iam::{account}:role/r"}'},
            {"conn_type": "generic", "login": "{account}", "password": "secret"},
        ],
        ids=str,
    )
    def test_valid_connection_is_used(
        self, empty_world: World, define_connection: Callable[..., Any], fields: dict[str, str]
    ) -> None:
        arguments = define_connection(
            **{name: text.replace("{account}", empty_world.account) for name, text in fields.items()}
        )
        assert list_audience_models(**arguments) == {"audienceModels": []}

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            ({"region_name": ""}, "region_name in the extra of the connection 'prod': '' is blank"),
            ({"region_name": "nowhere"}, "region_name in the extra of the connection 'prod': 'nowhere'"),
            (
                {"config_kwargs": {"conect_timeout": 3}},
                "(?s)options of the client in the extra of the connection 'prod'.*config_kwargs.conect_timeout.*'connect_timeout'",
            ),
            ({"config_kwargs": {"read_timeout": "3"}}, "must be a number"),
            ({"config_kwargs": {"s3": {"addressing_style": "odd"}}}, "the connection 'prod' cannot be used"),
            ({"service_config": []}, "service_config in the extra of the connection 'prod'"),
            ({"service_config": ["cleanroomsml"]}, "service_config in the extra of the connection 'prod'"),
            (
                {"service_config": {"cleanroomsml": "http://host"}},
                "service_config in the extra of the connection 'prod'",
            ),
            ({"role_arn": "role"}, "role_arn in the extra of the connection 'prod': 'role' is not the ARN of a role"),
            ({"role_arn": "arn:aws:iam::123456789012:user/me"}, "is not the ARN of a role"),
            (
                {"role_arn": "arn:aws:iam::123456789012:role/r", "assume_role_method": "guess"},
                "(?s)the connection 'prod' cannot be used.*guess",
            ),
            (
                {"role_arn": "arn:aws:iam::123456789012:role/r", "assume_role_method": "assume_role_with_saml"},
                "(?s)configuration is not valid.*assume_role_with_saml",
            ),
            (
                {"role_arn": "arn:aws:iam::123456789012:role/r", "assume_role_method": "assume_role_with_web_identity"},
                "(?s)configuration is not valid.*Unsupported federation",
            ),
            (
                {
                    "role_arn": "arn:aws:iam::123456789012:role/r",
                    "assume_role_method": "assume_role_with_web_identity",
                    "assume_role_with_web_identity_federation": "file",
                    "assume_role_with_web_identity_token_file": "/no/such/token",
                },
                "(?s)configuration is not valid.*/no/such/token",
            ),
            (
                {"role_arn": "arn:aws:iam::123456789012:role/r", "assume_role_kwargs": {"ExternalId": 987654321}},
                "(?s)configuration is not valid.*ExternalId",
            ),
            ({"profile_name": "nobody"}, "(?s)configuration is not valid.*nobody.*the connection 'prod'"),
        ],
        ids=str,
    )
    def test_bad_extra_entry_is_rejected(
        self, empty_world: World, define_connection: Callable[..., Any], extra: dict[str, Any], message: str
    ) -> None:
        arguments = define_connection(extra=json.dumps(extra))
        for caller in (create_audience_model, partial(run_sensor, deferrable=True), run_trigger):
            with pytest.raises(ConfigurationError, match=message) as caught:
                caller(empty_world, **arguments)
            assert "987654321" not in f"{caught.value}{caught.value.__context__}"
        assert empty_world.calls == []


class TestBoto3:
    @every_caller
    def test_region_is_required(self, empty_world: World, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        message = expect_error(caller, empty_world)
        assert "region_name: no region is configured" in message
        assert "credentials" not in message

    def test_sts_needs_a_region(
        self, empty_world: World, define_connection: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        arguments = define_connection(extra=json.dumps({"role_arn": empty_world.role}))
        assert "region_name: no region is configured" in expect_error(create_audience_model, empty_world, **arguments)

    @every_caller
    def test_invalid_region_is_rejected(
        self, empty_world: World, caller: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "None")
        assert "AWS_DEFAULT_REGION: 'None' is not an AWS region" in expect_error(caller, empty_world)

    @every_caller
    def test_missing_key_is_named(self, empty_world: World, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "AWS_SECRET_ACCESS_KEY" in expect_error(caller, empty_world)

    @every_caller
    def test_missing_profile_is_named(
        self, empty_world: World, caller: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        assert "nobody" in expect_error(caller, empty_world)


@contextmanager
def run_failing_sts(status: int, code: str) -> Iterator[str]:
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>".encode()

    class FailingHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), FailingHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class TestRetryableFailures:
    """Failures that may not recur raise an error that Airflow retries."""

    SINGLE_ATTEMPT: ClassVar[dict[str, Any]] = {"connect_timeout": 1, "retries": {"total_max_attempts": 1}}

    @pytest.mark.parametrize("caller", [create_audience_model, run_sensor], ids=["create", "sensor"])
    @pytest.mark.parametrize(
        ("status", "code", "advice"),
        [
            (400, "Throttling", ""),
            (503, "ServiceUnavailable", ""),
            (403, "AccessDenied", "and, if it assumes a role, the trust policy of the role."),
            (403, "ExpiredToken", "Renew the credentials in the Airflow connection"),
            (403, "InvalidClientTokenId", "Renew the credentials in the Airflow connection"),
        ],
    )
    def test_sts_error_is_retryable(
        self,
        empty_world: World,
        define_connection: Callable[..., Any],
        caller: Caller,
        status: int,
        code: str,
        advice: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        arguments = define_connection(extra=json.dumps({"role_arn": empty_world.role}))
        with run_failing_sts(status, code) as url, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_STS", url)
            with pytest.raises(CleanRoomsMLError, match=f"(?s)no credentials.*{code}") as caught:
                caller(
                    empty_world,
                    **arguments,
                    botocore_config=self.SINGLE_ATTEMPT,
                    **({"timeout": 0} if caller is run_sensor else {}),
                )
        assert not isinstance(caught.value, ConfigurationError)
        # A sensor polls until its time-out, then adds a line of advice after the one about credentials.
        assert advice in str(caught.value).splitlines()[-2 if isinstance(caught.value, WaitTimeoutError) else -1]

    def test_trigger_explains_denied_role(
        self, empty_world: World, define_connection: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = define_connection(extra=json.dumps({"role_arn": empty_world.role}))
        with run_failing_sts(403, "AccessDenied") as url, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_STS", url)
            event = run_wait(build_wait(build_arn(empty_world)), **arguments, botocore_config=self.SINGLE_ATTEMPT)
        error = event["error"]
        assert "(AccessDenied) when calling the AssumeRole operation" in error
        assert error.splitlines()[-1].endswith("and, if it assumes a role, the trust policy of the role.")

    @pytest.mark.parametrize(
        ("status", "code"), [(400, "Throttling"), (503, "ServiceUnavailable"), (403, "ExpiredToken")]
    )
    def test_trigger_survives_sts_error(
        self,
        empty_world: World,
        define_connection: Callable[..., Any],
        status: int,
        code: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        arguments = define_connection(extra=json.dumps({"role_arn": empty_world.role}))
        with run_failing_sts(status, code) as url, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_STS", url)
            event = run_wait(
                build_wait(build_arn(empty_world), timeout=1), **arguments, botocore_config=self.SINGLE_ATTEMPT
            )
        assert event["poll_result"]["outcome"] == "pending"
        assert code in event["poll_result"]["message"]

    def test_sts_validation_error_is_final(
        self, empty_world: World, define_connection: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = define_connection(extra=json.dumps({"role_arn": empty_world.role}))
        with run_failing_sts(400, "ValidationError") as url, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_STS", url)
            assert "ValidationError" in expect_error(
                create_audience_model, empty_world, **arguments, botocore_config=self.SINGLE_ATTEMPT
            )

    def test_unreachable_sts_is_retryable(
        self, empty_world: World, define_connection: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
        arguments = define_connection(extra=json.dumps({"role_arn": empty_world.role}))
        with pytest.raises(CleanRoomsMLError) as caught:
            create_audience_model(empty_world, **arguments, botocore_config=self.SINGLE_ATTEMPT)
        assert not isinstance(caught.value, AirflowFailException)

    def test_missing_connection_is_retryable(self, empty_world: World) -> None:
        with pytest.raises(CleanRoomsMLError, match="the connection 'gone' does not exist") as caught:
            list_audience_models(aws_conn_id="gone")
        assert not isinstance(caught.value, AirflowFailException)
