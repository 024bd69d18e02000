"""The page in Airflow's UI, in a real browser: runs made without a scheduler, an API server, and Chromium."""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from airflow import __version__ as airflow_version

from airflow_cleanroomsml._compat import HAS_REACT_APPS
from tests.helpers.custom_models import Studio
from tests.helpers.deployment import ROOT, Deployment
from tests.support import EmulatorProcess, World

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
#: The first is Chromium without what shows windows, and takes a sixth less CPU time.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not HAS_REACT_APPS, reason="Airflow has no pages of plugins before 3.1"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium-headless-shell"),
]

HAS_TASK_STATE = not airflow_version.startswith(("3.1.", "3.2."))
FILES = Path(__file__).parent / "files"
FILE = FILES / "pages.py"
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
    # Most scripts run once, and optimizing them takes longer than it saves.
    "--js-flags=--no-opt --no-maglev",
)
#: With their roles; the auth manager denies ``noor`` the Dag, and ``xenia`` its XComs.
USERS = {"ada": "admin", "vera": "viewer", "noor": "viewer", "xenia": "viewer"}
SIZES = [1, 3, 5, 10, 15, 20]
#: Stops an animation of Airflow, of a progress bar that it hides: drawing it takes a tenth of a processor.
STOP_PROGRESS = """addEventListener("DOMContentLoaded", () => {
    document.head.appendChild(document.createElement("style")).textContent = ".chakra-progress__range { animation: none !important }"
})"""
#: Opens a page of Airflow in one that shows Airflow already, as the browser's buttons "back" and "forward" do.
FOLLOW = "url => { history.pushState({}, '', url); dispatchEvent(new PopStateEvent('popstate')) }"


class Site(NamedTuple):
    """
    An API server of an Airflow with a finished run.

    :param root: URL of Airflow at the root of its host.
    :param run: What the tasks of the run did.
    """

    root: str
    run: dict[str, Any]

    @property
    def prefixed_url(self) -> str:
        """URL of the same Airflow under a path."""
        return f"{self.root}/airflow"

    def page(self, task: str, base: str = "") -> str:
        """URL of the page of a task instance."""
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


def prepare(world: World) -> dict[str, str]:
    """Create what the Dag needs, and return its params."""
    configured = world.ml.create_configured_audience_model(
        name="configured",
        audienceModelArn=world.train_model(),
        outputConfig=world.output,
        sharedAudienceMetrics=["ALL"],
        audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": SIZES},
    )["configuredAudienceModelArn"]
    studio = Studio(world)
    studio.ml.put_ml_configuration(**studio.of, defaultOutputLocation={"roleArn": world.role})
    return {
        "configured": configured,
        "role": world.role,
        "seed": world.write_seed()["dataSource"]["s3Uri"],
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
        "AIRFLOW__CORE__AUTH_MANAGER": "auth_manager.DagAuthManager",
        "PYTHONPATH": str(FILES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    airflow = Deployment(home, **settings)
    # A run whose pictures are taken lasts six minutes: each job a minute, on the clock of all others.
    pending, progress = (10, 50) if WRITES_PICTURES else (0.5, 1.5)
    emulator.change_settings(pending_seconds=pending, progress_seconds=progress)
    world = World(emulator).build()
    airflow.connect(default=world)
    root = airflow.environment["AIRFLOW__API__BASE_URL"]
    server = ("uvicorn", "api_server:app", "--host", "127.0.0.1", "--port", str(urlsplit(root).port))
    # As ``airflow api-server --apps core``: no task calls this server.
    airflow.environment["AIRFLOW_API_APPS"] = "core"
    airflow.start_module("api-server", *server, "--log-level", "warning")
    try:
        run = airflow.run(FILE, "audience", prepare(world))
        assert run["state"] == "success", airflow.run_log[-6000:]
        airflow.wait_until(lambda: is_healthy(root))
        yield Site(root, run)
    finally:
        airflow.stop()
        emulator.restore_settings()


@pytest.fixture(scope="module")
def log_in_browser(site: Site) -> Iterator[Callable[[str], Any]]:
    """Return a function that finds the logged-in browser of a user. All tests share it, so Airflow's own scripts load once."""
    contexts: dict[str, Any] = {}
    # A busy machine makes pages slow.
    playwright.expect.set_options(timeout=60_000)

    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)

        def find_context(user: str) -> Any:
            if user not in contexts:
                contexts[user] = chromium.new_context(viewport={"width": 1440, "height": 1000})
                contexts[user].add_init_script(STOP_PROGRESS)
                cookie = {"name": "_token", "value": log_in(site.root, user), "domain": "127.0.0.1", "sameSite": "Lax"}
                contexts[user].add_cookies([{**cookie, "path": "/"}])
            return contexts[user]

        yield find_context
        chromium.close()


@pytest.fixture(scope="module")
def tabs() -> dict[str, Any]:
    """
    Return the browser's page of each user.

    It shows Airflow already. To open another page of Airflow in it, as a link does, takes a sixth of the CPU time of loading that page,
    which runs Airflow's scripts of 7 MB.
    """
    return {}


@pytest.fixture
def visit(
    request: pytest.FixtureRequest, log_in_browser: Callable[[str], Any], tabs: dict[str, Any]
) -> Iterator[Callable[..., Any]]:
    """
    Open a URL as a user, and return the page of the browser.

    The first URL of a user is loaded, and so is every URL that is opened ``alone``: in a page that no other test uses. ``prepare`` gets the
    page before. With ``has_clock``, time passes at the command of the test.
    """
    failed = request.session.testsfailed
    closing: list[Any] = []

    def open_page(
        url: str,
        *,
        user: str = "vera",
        colors: str = "light",
        wait_for: str = "crml",
        prepare: Callable[[Any], None] = lambda _: None,
        has_clock: bool = False,
        alone: bool = False,
    ) -> Any:
        shown = None if alone else tabs.get(user)
        page = shown or log_in_browser(user).new_page()
        if alone:
            closing.append(page)
        else:
            tabs[user] = page
        page.emulate_media(color_scheme=colors)
        if has_clock:
            page.clock.install()
        prepare(page)
        if shown:
            page.evaluate(FOLLOW, url)
        else:
            page.goto(url)
        if wait_for:
            playwright.expect(page.get_by_test_id(wait_for)).to_be_visible()
        return page

    yield open_page
    if request.session.testsfailed > failed:
        closing += tabs.values()
        tabs.clear()
    for page in closing:
        page.close()
    for page in tabs.values():
        page.unroute_all()
        page.evaluate(FOLLOW, "/plugins")
        playwright.expect(page.get_by_role("heading", name="Plugins")).to_be_visible()
        # What a test chose, such as the graph instead of the grid, does not last.
        page.evaluate("localStorage.clear()")


def build_answer(*, status: int = 200, body: str, kind: str = "application/json") -> Callable[[Any], None]:
    """Build a handler that answers a request of the browser in place of Airflow."""
    return lambda route: route.fulfill(status=status, content_type=kind, body=body)


def answer_state(page: Any, state: str | None) -> None:
    """Let the browser see another state of the task ``generate``: the run has ended."""

    def change_state(route: Any) -> None:
        build_answer(body=json.dumps({**route.fetch().json(), "state": state}))(route)

    page.route("**/api/v2/**/taskInstances/generate", change_state)


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

    def test_link_leads_to_the_page_under_a_prefix(self, site: Site, visit: Callable[..., Any]) -> None:
        page = visit(f"{site.instance('generate', site.prefixed_url)}/details", wait_for="", alone=True)
        link = page.get_by_role("link", name="Clean Rooms ML details")
        playwright.expect(link).to_be_visible()
        take_picture(page, "link")
        link.focus()
        # Airflow 3.1 opens all extra links in another tab; later versions only those that lead elsewhere.
        if link.get_attribute("target") == "_blank":
            with page.context.expect_page() as opened:
                page.keyboard.press("Enter")
            page = opened.value
        else:
            page.keyboard.press("Enter")
        page.wait_for_url(site.page("generate", site.prefixed_url))
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

    def test_a_sensor_has_the_page_of_its_job(self, site: Site, visit: Callable[..., Any]) -> None:
        expect_relevance(visit(site.page("check")), site)

    def test_the_graph_of_the_dag(self, site: Site, visit: Callable[..., Any]) -> None:
        page = visit(f"{site.root}/dags/audience/runs/{site.run['run_id']}", wait_for="")
        playwright.expect(page.get_by_role("link", name="generate").first).to_be_visible()
        page.keyboard.press("g")
        # Airflow's own tasks, one node each.
        playwright.expect(page.locator(".react-flow__node")).to_have_count(len(site.run["tasks"]))
        take_picture(page, "graph")


class TestOtherTasks:
    @pytest.mark.parametrize("task", ["begin", "generate"])
    def test_tasks_have_no_extra_tab(self, site: Site, visit: Callable[..., Any], task: str) -> None:
        page = visit(site.instance(task), wait_for="")
        playwright.expect(page.get_by_text("Rendered Templates")).to_be_visible()
        assert page.locator("a[href*='plugin/']").count() == 0

    @pytest.mark.parametrize("task", ["begin", "silent"])
    def test_task_without_details_has_no_link(self, site: Site, task: str) -> None:
        token = log_in(site.root, "vera")
        status, body = get(f"{site.root}{site.api(task)}/links", Authorization=f"Bearer {token}")
        assert status == 200
        assert not json.loads(body)["extra_links"].get("Clean Rooms ML details")


class TestRights:
    def test_plugin_adds_no_route(self, site: Site) -> None:
        """Without a route, there is nothing to request without permission."""
        token = log_in(site.root, "ada")
        _, body = get(f"{site.root}/api/v2/plugins", Authorization=f"Bearer {token}")
        (plugin,) = [plugin for plugin in json.loads(body)["plugins"] if plugin["name"] == "cleanroomsml"]
        (app,) = plugin.pop("react_apps")
        assert app["bundle_url"].startswith("data:")
        assert {name for name, value in plugin.items() if value} == {"name", "source"}

    @pytest.mark.parametrize("path", ["/api/v2/plugins", "instance", "xcoms"])
    def test_every_path_that_the_page_reads_requires_a_login(self, site: Site, path: str) -> None:
        paths = {"instance": site.api("generate"), "xcoms": f"{site.api('generate')}/xcomEntries/metrics"}
        assert get(f"{site.root}{paths.get(path, path)}")[0] == 401

    @pytest.mark.parametrize(
        ("user", "text"), [("noor", "may not read the task instances"), ("xenia", "may not read the XComs")]
    )
    def test_page_tells_a_viewer_which_permission_is_missing(
        self, site: Site, visit: Callable[..., Any], user: str, text: str
    ) -> None:
        page = visit(site.page("generate"), user=user, wait_for="crml-error", alone=True)
        playwright.expect(page.get_by_test_id("crml-error")).to_contain_text(text)
        playwright.expect(page.get_by_test_id("crml-error")).not_to_contain_text("tries again")

    @pytest.mark.parametrize(("user", "status"), [("noor", 403), ("xenia", 403), ("vera", 200)])
    def test_airflow_enforces_permissions(self, site: Site, user: str, status: int) -> None:
        token = log_in(site.root, user)
        url = f"{site.root}{site.api('generate')}/xcomEntries/metrics"
        assert get(url, Authorization=f"Bearer {token}")[0] == status

    def test_page_asks_a_user_who_is_not_logged_in_to_log_in(self, site: Site, visit: Callable[..., Any]) -> None:
        # Airflow itself would redirect to its login, so only the page's own requests get this response.
        def prepare(page: Any) -> None:
            page.route("**/xcomEntries?*", build_answer(status=401, body="{}"))

        page = visit(site.page("generate"), wait_for="crml-error", prepare=prepare)
        playwright.expect(page.get_by_test_id("crml-error")).to_contain_text("Reload the page to log in")


class TestRefreshes:
    """A page that shows a task in progress; the test controls its clock."""

    @pytest.fixture
    def page(self, site: Site, visit: Callable[..., Any]) -> Any:
        page = visit(site.page("generate"), has_clock=True, prepare=lambda page: answer_state(page, "running"))
        expect_relevance(page, site)
        return page

    def test_failed_refresh_keeps_the_page_and_is_repeated(self, site: Site, page: Any) -> None:
        stale, listing = page.get_by_test_id("crml-stale"), "**/xcomEntries?*"
        playwright.expect(stale).to_have_count(0)
        failures: list[tuple[dict[str, Any], str]] = [
            ({"status": 502, "body": "<html>Bad Gateway</html>", "kind": "text/html"}, "502"),
            ({"body": "<html>Log in</html>", "kind": "text/html"}, "not JSON"),
            ({"status": 401, "body": "{}"}, "session has ended"),
        ]
        # Each pause is twice the one before: 20, 40 and 80 s.
        for number, (response, text) in enumerate(failures):
            page.unroute(listing)
            page.route(listing, build_answer(**response))
            page.clock.run_for(10_500 * 2**number)
            playwright.expect(stale).to_contain_text(text)
            playwright.expect(stale).to_contain_text("The refresh at 20")
            expect_relevance(page, site)
        page.unroute(listing)
        page.route(listing, lambda route: route.abort())
        page.clock.run_for(82_000)
        playwright.expect(stale).to_contain_text("could not reach Airflow")
        playwright.expect(stale).to_contain_text("2 min 40 s later")
        page.unroute(listing)
        page.clock.run_for(165_000)
        playwright.expect(stale).to_have_count(0)
        expect_relevance(page, site)

    def test_page_follows_a_cleared_task(self, page: Any) -> None:
        page.route("**/taskInstances/generate/xcomEntries?*", build_answer(body='{"xcom_entries": []}'))
        for state, message in ((None, "written when the job has ended"), ("success", "no metrics")):
            # The newest route of an address answers.
            answer_state(page, state)
            page.clock.run_for(10_500)
            playwright.expect(page.get_by_test_id("crml-relevance")).to_contain_text(message)

    def test_page_survives_values_of_an_unexpected_form(self, page: Any) -> None:
        """Anyone who can run a task can push anything to XCom."""
        values = dict[str, Any]()
        unusual = {"relevanceMetrics": [{"audienceSize": 1}]}
        tiny = {"audienceSize": {"type": "PERCENTAGE", "value": 1e-200}, "score": 1e-150}
        empty = {"audienceSize": {"type": "PERCENTAGE", "value": 0}, "score": 0}
        few = [{"relevanceMetrics": [entry], "recallMetric": 1e300} for entry in (tiny, empty)]
        forms: list[Any] = [None, 7, "text", [], {"relevanceMetrics": [None]}, {"relevanceMetrics": []}, unusual, *few]
        values["status_history"] = [1, {"status": [], "since": "never"}]

        def answer_xcom(route: Any) -> None:
            key = route.request.url.split("/xcomEntries/")[1].split("?")[0]
            value = values.get(key, {"a": [None], "b_arn": f"<img src=x onerror=alert()> {values['form']}"})
            build_answer(body=json.dumps({"key": key, "value": value}))(route)

        page.route("**/xcomEntries/*", answer_xcom)
        for number, metrics in enumerate(forms):
            values.update(metrics=metrics, form=f"form {number}")
            page.clock.run_for(10_500)
            # What shows that the page has drawn this form.
            playwright.expect(page.get_by_test_id("crml-identifiers")).to_contain_text(f"form {number}")
            playwright.expect(page.get_by_test_id("crml-history")).to_be_visible()
            assert page.get_by_test_id("crml-error").count() == 0
            assert page.get_by_test_id("crml").locator("img").count() == 0


class TestFirstLoads:
    def test_failed_first_load_is_repeated(self, site: Site, visit: Callable[..., Any]) -> None:
        listing = "**/xcomEntries?*"

        def prepare(page: Any) -> None:
            page.route(listing, build_answer(status=503, body="upstream", kind="text/plain"))

        page = visit(site.page("generate"), wait_for="crml-error", has_clock=True, prepare=prepare)
        playwright.expect(page.get_by_test_id("crml-error")).to_contain_text("503")
        playwright.expect(page.get_by_test_id("crml-error")).to_contain_text("tries again in 20 s")
        page.unroute(listing)
        page.clock.run_for(21_000)
        expect_relevance(page, site)

    def test_page_reports_a_task_instance_that_is_gone(self, site: Site, visit: Callable[..., Any]) -> None:
        page = visit(site.page("infer/mapped/7"), wait_for="")
        playwright.expect(page.get_by_test_id("crml-error")).to_contain_text("no such task instance")


def test_sizes_in_users_have_no_random_baseline(site: Site, visit: Callable[..., Any]) -> None:
    sizes = (10_000, 250_000, 1_000_000)
    bins = [
        {"audienceSize": {"type": "ABSOLUTE", "value": size}, "score": 0.4 - index / 2}
        for index, size in enumerate(sizes)
    ]
    body = json.dumps({"key": "metrics", "value": {"relevanceMetrics": bins, "recallMetric": 0.3}})

    def prepare(page: Any) -> None:
        page.route("**/xcomEntries/metrics?*", build_answer(body=body))
        page.route("**/taskInstances/~/xcomEntries?*", build_answer(body='{"xcom_entries": []}'))

    page = visit(site.page("generate"), prepare=prepare)
    playwright.expect(page.get_by_test_id("crml-recall")).to_contain_text("is not known")
    relevance = page.get_by_test_id("crml-relevance")
    playwright.expect(relevance).to_contain_text("250,000 users")
    playwright.expect(relevance).to_contain_text("No task of this run has exported an audience of this job")


@pytest.mark.parametrize("status", [{"a": 1}, [{"a": 1}], 7], ids=str)
def test_page_survives_a_log_status_of_an_unexpected_form(site: Site, visit: Callable[..., Any], status: Any) -> None:
    body = json.dumps({"key": "logs_status", "value": status})

    def prepare(page: Any) -> None:
        page.route("**/xcomEntries/logs_status?*", build_answer(body=body))

    page = visit(site.page("train"), prepare=prepare)
    playwright.expect(page.get_by_test_id("crml-logs")).to_contain_text("not known")
    assert page.get_by_test_id("crml-error").count() == 0


def test_error_in_the_page_does_not_affect_airflow(site: Site, visit: Callable[..., Any]) -> None:
    line = "function Content("

    def answer_faulty(route: Any) -> None:
        content = route.fetch().json()
        (app,) = next(plugin for plugin in content["plugins"] if plugin["name"] == "cleanroomsml")["react_apps"]
        head, _, script = app["bundle_url"].partition(",")
        text = b64decode(script).decode()
        assert line in text
        faulty = text.replace(line, "function Content() { throw new Error('planted'); }\nfunction Unused(")
        app["bundle_url"] = f"{head},{b64encode(faulty.encode()).decode()}"
        build_answer(body=json.dumps(content))(route)

    def prepare(page: Any) -> None:
        page.route("**/api/v2/plugins*", answer_faulty)

    page = visit(site.page("generate"), prepare=prepare, alone=True)
    playwright.expect(page.get_by_test_id("crml-error")).to_contain_text("planted")
    playwright.expect(page.get_by_text("Rendered Templates")).to_be_visible()


def test_page_shows_the_age_of_a_deferred_tasks_status(site: Site, visit: Callable[..., Any]) -> None:
    progress = {"status": "CREATE_PENDING", "polled_at": "2026-01-01T00:00:05+00:00"}
    value = {"key": "progress", "value": {**progress, "deferred_since": "2026-01-01T00:00:06+00:00"}}

    def prepare(page: Any) -> None:
        page.route("**/taskInstances/generate/xcomEntries?*", build_answer(body='{"xcom_entries": []}'))
        answer_state(page, "deferred")
        page.route("**/state-store/progress*", build_answer(body=json.dumps(value)))

    page = visit(site.page("generate"), prepare=prepare)
    history = page.get_by_test_id("crml-history")
    playwright.expect(history).to_contain_text("CREATE_PENDING")
    playwright.expect(history).to_contain_text("polled at 2026-01-01T00:00:05+00:00")
    playwright.expect(history).to_contain_text("deferred since 2026-01-01T00:00:06+00:00")


@pytest.mark.skipif(not HAS_TASK_STATE, reason="Airflow has no task state store before 3.3")
def test_task_state_has_what_the_page_reads(site: Site) -> None:
    token = log_in(site.root, "vera")
    url = f"{site.root}{site.api('train')}/state-store/progress"
    status, body = get(url, Authorization=f"Bearer {token}")
    assert (status, json.loads(body)["value"]["status"]) == (200, "ACTIVE")
