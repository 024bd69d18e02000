"""The page in Airflow's UI, in a real browser: runs made without a scheduler, an API server, and Chromium."""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_cleanroomsml._compat import HAS_REACT_APPS
from tests.helpers.custom_models import Studio
from tests.helpers.deployment import ROOT, Deployment
from tests.support import EmulatorProcess, World

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not HAS_REACT_APPS, reason="Airflow has no pages of plugins before 3.1"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

FILE = Path(__file__).parent / "files" / "pages.py"
PICTURES = ROOT / "docs" / "pictures"
#: Set to write the pictures of the documentation.
WRITES_PICTURES = bool(os.environ.get("AIRFLOW_CLEANROOMSML_PICTURES"))
#: Chromium runs as root in containers, and needs no connection of its own.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
USERS = {"ada": "admin", "vera": "viewer"}
SIZES = [1, 3, 5, 10, 15, 20]


class Site(NamedTuple):
    """
    Two API servers of one Airflow with a finished run.

    :param root: URL of the one at the root of its host.
    :param prefixed: URL of the one under ``/airflow``.
    :param run: What the tasks of the run did.
    """

    root: str
    prefixed: str
    run: dict[str, Any]

    def page(self, task: str, base: str = "") -> str:
        """URL of the details of a task instance."""
        return f"{self.instance(task, base)}/plugin/cleanroomsml"

    def instance(self, task: str, base: str = "") -> str:
        """URL of a task instance."""
        return f"{base or self.root}/dags/audience/runs/{self.run['run_id']}/tasks/{task}"

    def api(self, task: str) -> str:
        """Path of a task instance in the REST API."""
        return f"/api/v2/dags/audience/dagRuns/{self.run['run_id']}/taskInstances/{task}"


def get(url: str, **headers: str) -> tuple[int, str]:
    """Status and body of a response."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def log_in(base: str, user: str) -> str:
    """Token of a user."""
    body = json.dumps({"username": user, "password": user}).encode()
    request = urllib.request.Request(f"{base}/auth/token", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(json.load(response)["access_token"])


def is_healthy(base: str) -> bool:
    try:
        return get(f"{base}/api/v2/monitor/health")[0] == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    process = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0.5", "--progress-seconds", "1.5")
    yield process
    process.stop()


def prepare(world: World) -> dict[str, str]:
    """Make what the Dag needs; its params."""
    configured = world.ml.create_configured_audience_model(
        name="configured",
        audienceModelArn=world.model(),
        outputConfig=world.output,
        sharedAudienceMetrics=["ALL"],
        audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": SIZES},
    )["configuredAudienceModelArn"]
    studio = Studio(world)
    studio.ml.put_ml_configuration(**studio.of, defaultOutputLocation={"roleArn": world.role})
    return {
        "configured": configured,
        "role": world.role,
        "seed": world.seed()["dataSource"]["s3Uri"],
        "membership": studio.membership,
        "association": studio.association,
        "channel": studio.channel,
        "account": world.account,
    }


@pytest.fixture(scope="module")
def site(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home, dags = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("dags")
    shutil.copy(FILE, dags)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in USERS}))
    settings = {
        "AWS_ENDPOINT_URL": emulator.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        # With it, every request is an administrator's, and nothing about rights is tested.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    root, prefixed = Deployment(home, **settings), Deployment(home, **settings)
    prefixed.environment["AIRFLOW__API__BASE_URL"] += "/airflow"
    world = World(emulator).build()
    root.connect(default=world)
    for server in (root, prefixed):
        server.start_part("api-server")
    try:
        run = root.run(FILE, "audience", prepare(world))
        assert run["state"] == "success", root.run_log[-6000:]
        at_root, at_prefix = (server.environment["AIRFLOW__API__BASE_URL"] for server in (root, prefixed))
        root.until(lambda: is_healthy(at_root) and is_healthy(at_prefix))
        yield Site(at_root, at_prefix, run)
    finally:
        for server in (root, prefixed):
            server.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(site: Site, chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a URL as a user, and return the page of the browser."""
    contexts: list[Any] = []

    def open_page(url: str, *, user: str = "vera", colors: str = "light", wait_for: str = "crml") -> Any:
        base = site.prefixed if url.startswith(site.prefixed) else site.root
        context = chromium.new_context(viewport={"width": 1440, "height": 1000}, color_scheme=colors)
        contexts.append(context)
        path = "/airflow/" if base == site.prefixed else "/"
        token = {"name": "_token", "value": log_in(base, user), "domain": "127.0.0.1", "path": path, "sameSite": "Lax"}
        context.add_cookies([token])
        context.add_init_script(f"localStorage.setItem('theme', '{colors}')")
        page = context.new_page()
        page.goto(url)
        if wait_for:
            playwright.expect(page.get_by_test_id(wait_for)).to_be_visible(timeout=60_000)
        return page

    yield open_page
    for context in contexts:
        context.close()


def answer(route: Any, *, status: int = 200, body: str) -> None:
    """Answer a request of the browser in place of Airflow."""
    route.fulfill(status=status, content_type="application/json", body=body)


def take_picture(page: Any, name: str) -> None:
    if WRITES_PICTURES:
        PICTURES.mkdir(exist_ok=True)
        page.wait_for_timeout(500)
        page.screenshot(path=str(PICTURES / f"{name}.png"))


def expect_relevance(page: Any, site: Site) -> None:
    metrics = site.run["tasks"]["generate"]["xcom"]["metrics"]
    relevance = page.get_by_test_id("crml-relevance")
    playwright.expect(relevance.locator("circle")).to_have_count(len(SIZES))
    playwright.expect(page.get_by_test_id("crml-recall")).to_contain_text(f"{metrics['recallMetric']:.2f}")
    playwright.expect(page.get_by_test_id("crml-recall")).to_contain_text("random 0.20")


class TestPages:
    @pytest.mark.parametrize("colors", ["light", "dark"])
    def test_a_generation_job(self, site: Site, visit: Callable[..., Any], colors: str) -> None:
        page = visit(site.page("generate"), colors=colors)
        expect_relevance(page, site)
        chosen = site.run["tasks"]["choose"]["xcom"]["return_value"]["value"]
        row = page.get_by_test_id("crml-relevance").locator("tr", has_text=f"{chosen} %").filter(has_text="export")
        playwright.expect(row).to_have_count(1)
        history = page.get_by_test_id("crml-history")
        for entry in site.run["tasks"]["generate"]["xcom"]["status_history"]:
            playwright.expect(history).to_contain_text(entry["status"])
        is_dark = page.evaluate("document.documentElement.classList.contains('dark')")
        assert is_dark == (colors == "dark")
        take_picture(page, f"generation_job_{colors}")

    def test_under_a_prefix_the_link_leads_to_the_page(self, site: Site, visit: Callable[..., Any]) -> None:
        page = visit(f"{site.instance('generate', site.prefixed)}/details", wait_for="")
        link = page.get_by_role("link", name="Clean Rooms ML details")
        playwright.expect(link).to_be_visible(timeout=60_000)
        take_picture(page, "link")
        link.focus()
        page.keyboard.press("Enter")
        page.wait_for_url(site.page("generate", site.prefixed))
        expect_relevance(page, site)

    def test_a_trained_model(self, site: Site, visit: Callable[..., Any]) -> None:
        page = visit(site.page("train"))
        logs = page.get_by_test_id("crml-logs")
        playwright.expect(logs).to_contain_text("PUBLISH_SUCCEEDED")
        playwright.expect(logs).to_contain_text("/aws/cleanroomsml/TrainedModels")
        playwright.expect(page.get_by_test_id("crml-relevance")).to_have_count(0)
        take_picture(page, "trained_model")

    def test_a_mapped_inference_job(self, site: Site, visit: Callable[..., Any]) -> None:
        for index in (0, 1):
            page = visit(site.page(f"infer/mapped/{index}"))
            arn = site.run["mapped"][f"infer[{index}]"]["xcom"]["trained_model_inference_job_arn"]
            playwright.expect(page.get_by_test_id("crml-identifiers")).to_contain_text(arn)
            playwright.expect(page.get_by_test_id("crml-output")).to_contain_text("does not return where the files are")

    def test_an_export_has_its_location_to_copy(self, site: Site, visit: Callable[..., Any]) -> None:
        page = visit(site.page("export"))
        location = site.run["tasks"]["export"]["xcom"]["output_location"]
        identifiers = page.get_by_test_id("crml-identifiers")
        playwright.expect(identifiers).to_contain_text(location)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        button = identifiers.locator("tr", has_text=location).get_by_role("button")
        button.focus()
        page.keyboard.press("Enter")
        playwright.expect(button).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == location
        take_picture(page, "export")

    def test_a_sensor_has_the_page_of_its_job(self, site: Site, visit: Callable[..., Any]) -> None:
        expect_relevance(visit(site.page("check")), site)

    def test_the_graph_of_the_dag(self, site: Site, visit: Callable[..., Any]) -> None:
        page = visit(f"{site.root}/dags/audience/runs/{site.run['run_id']}", wait_for="")
        playwright.expect(page.get_by_role("link", name="generate").first).to_be_visible(timeout=60_000)
        page.keyboard.press("g")
        # Airflow's own tasks, one node each.
        playwright.expect(page.locator(".react-flow__node")).to_have_count(len(site.run["tasks"]), timeout=60_000)
        take_picture(page, "graph")


class TestOtherTasks:
    @pytest.mark.parametrize("task", ["begin", "generate"])
    def test_no_task_has_a_tab(self, site: Site, visit: Callable[..., Any], task: str) -> None:
        page = visit(site.instance(task), wait_for="")
        playwright.expect(page.get_by_text("Rendered Templates")).to_be_visible(timeout=60_000)
        assert page.locator("a[href*='plugin/']").count() == 0

    @pytest.mark.parametrize("task", ["begin", "silent"])
    def test_a_task_that_has_nothing_to_show_has_no_link(self, site: Site, task: str) -> None:
        token = log_in(site.root, "vera")
        status, body = get(f"{site.root}{site.api(task)}/links", Authorization=f"Bearer {token}")
        assert status == 200
        assert not json.loads(body)["extra_links"].get("Clean Rooms ML details")


class TestRights:
    def test_the_plugin_adds_no_route(self, site: Site) -> None:
        """So there is nothing that somebody without rights could ask it for."""
        token = log_in(site.root, "ada")
        _, body = get(f"{site.root}/api/v2/plugins", Authorization=f"Bearer {token}")
        (plugin,) = [plugin for plugin in json.loads(body)["plugins"] if plugin["name"] == "cleanroomsml"]
        (app,) = plugin.pop("react_apps")
        assert app["bundle_url"].startswith("data:")
        assert {name for name, value in plugin.items() if value} == {"name", "source"}

    @pytest.mark.parametrize("path", ["/api/v2/plugins", "instance", "xcoms"])
    def test_what_the_page_reads_needs_a_login(self, site: Site, path: str) -> None:
        paths = {"instance": site.api("generate"), "xcoms": f"{site.api('generate')}/xcomEntries/metrics"}
        assert get(f"{site.root}{paths.get(path, path)}")[0] == 401

    def test_a_viewer_without_rights_is_told(self, site: Site, visit: Callable[..., Any]) -> None:
        # SimpleAuthManager cannot deny a single Dag, so the browser gets the answers of an Airflow that does.
        page = visit(site.instance("generate"), wait_for="")
        for status, text in ((401, "log in"), (403, "You may not read"), (500, "500")):
            page.unroute("**/xcomEntries?*")
            page.route("**/xcomEntries?*", partial(answer, status=status, body="{}"))
            page.goto(site.page("generate"))
            playwright.expect(page.get_by_test_id("crml-error")).to_contain_text(text, timeout=60_000)


def test_values_of_an_unexpected_form_break_nothing(site: Site, visit: Callable[..., Any]) -> None:
    """Whoever can run a task can push anything to XCom."""
    page, values = visit(site.instance("generate"), wait_for=""), dict[str, Any]()

    def answer_xcom(route: Any) -> None:
        key = route.request.url.split("/xcomEntries/")[1].split("?")[0]
        value = values.get(key, {"a": [None], "b_arn": "<img src=x onerror=alert()>"})
        answer(route, body=json.dumps({"key": key, "value": value}))

    page.route("**/xcomEntries/*", answer_xcom)
    values["status_history"] = [1, {"status": [], "since": "never"}]
    unusual = {"relevanceMetrics": [{"audienceSize": 1}]}
    forms: list[Any] = [None, 7, "text", [], {"relevanceMetrics": [None]}, {"relevanceMetrics": []}, unusual]
    for metrics in forms:
        values["metrics"] = metrics
        page.goto(site.page("generate"))
        playwright.expect(page.get_by_test_id("crml-history")).to_be_visible(timeout=60_000)
        assert page.get_by_test_id("crml-error").count() == 0
        assert page.get_by_test_id("crml").locator("img").count() == 0


def test_sizes_in_users_have_no_chance_to_compare_with(site: Site, visit: Callable[..., Any]) -> None:
    page, sizes = visit(site.instance("generate"), wait_for=""), (10_000, 250_000, 1_000_000)
    bins = [
        {"audienceSize": {"type": "ABSOLUTE", "value": size}, "score": 0.4 - index / 2}
        for index, size in enumerate(sizes)
    ]
    body = json.dumps({"key": "metrics", "value": {"relevanceMetrics": bins, "recallMetric": 0.3}})
    page.route("**/xcomEntries/metrics?*", partial(answer, body=body))
    page.route("**/taskInstances/~/xcomEntries?*", partial(answer, body='{"xcom_entries": []}'))
    page.goto(site.page("generate"))
    playwright.expect(page.get_by_test_id("crml-recall")).to_contain_text("is not known", timeout=60_000)
    relevance = page.get_by_test_id("crml-relevance")
    playwright.expect(relevance).to_contain_text("250,000 users")
    playwright.expect(relevance).to_contain_text("No task of this run has exported an audience of this job")


def test_an_error_of_the_page_leaves_airflow_alone(site: Site, visit: Callable[..., Any]) -> None:
    page, line = visit(site.instance("generate"), wait_for=""), "function Content("

    def answer_faulty(route: Any) -> None:
        content = route.fetch().json()
        (app,) = next(plugin for plugin in content["plugins"] if plugin["name"] == "cleanroomsml")["react_apps"]
        head, _, script = app["bundle_url"].partition(",")
        text = b64decode(script).decode()
        assert line in text
        faulty = text.replace(line, "function Content() { throw new Error('planted'); }\nfunction Unused(")
        app["bundle_url"] = f"{head},{b64encode(faulty.encode()).decode()}"
        answer(route, body=json.dumps(content))

    page.route("**/api/v2/plugins*", answer_faulty)
    page.goto(site.page("generate"))
    playwright.expect(page.get_by_test_id("crml-error")).to_contain_text("planted", timeout=60_000)
    playwright.expect(page.get_by_text("Rendered Templates")).to_be_visible()


def test_a_deferred_task_says_since_when_its_status_was_not_renewed(site: Site, visit: Callable[..., Any]) -> None:
    page = visit(site.instance("generate"), wait_for="")
    # The run has ended, so the browser gets the answers of one that has not.
    page.route("**/taskInstances/generate/xcomEntries?*", partial(answer, body='{"xcom_entries": []}'))

    def answer_deferred(route: Any) -> None:
        answer(route, body=json.dumps({**route.fetch().json(), "state": "deferred"}))

    page.route("**/taskInstances/generate", answer_deferred)
    progress = {"status": "CREATE_PENDING", "polled_at": "2026-01-01T00:00:05+00:00"}
    value = {"key": "progress", "value": {**progress, "deferred_since": "2026-01-01T00:00:06+00:00"}}
    page.route("**/state-store/progress*", partial(answer, body=json.dumps(value)))
    page.goto(site.page("generate"))
    history = page.get_by_test_id("crml-history")
    playwright.expect(history).to_contain_text("CREATE_PENDING", timeout=60_000)
    playwright.expect(history).to_contain_text("polled at 2026-01-01T00:00:05+00:00")
    playwright.expect(history).to_contain_text("deferred since 2026-01-01T00:00:06+00:00")


def test_what_the_page_reads_of_the_task_state_is_there(site: Site) -> None:
    token = log_in(site.root, "vera")
    url = f"{site.root}{site.api('train')}/state-store/progress"
    status, body = get(url, Authorization=f"Bearer {token}")
    assert (status, json.loads(body)["value"]["status"]) == (200, "ACTIVE")
