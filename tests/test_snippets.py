"""Every code block in the documentation: Python is executed, commands are parsed, and output is compared with real output."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pendulum
import pytest
import yaml
from airflow import DAG
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from packaging.requirements import Requirement

from airflow_cleanroomsml import notifications, operators, sensors, task_groups, triggers
from airflow_cleanroomsml._pipelines.audience_size import Bin, Metrics
from airflow_cleanroomsml._resources.table import Goal, Outcome
from airflow_cleanroomsml._waiting.history import StatusHistory
from airflow_cleanroomsml._waiting.outcome import summarize
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml.exceptions import DataCheckFailedError, InvalidRequestError, JobFailedError
from airflow_cleanroomsml.notifications import describe_end
from tests.helpers.deployment import ROOT
from tests.helpers.training_data import TrainingData, build_rows, create_role
from tests.support import TaskInstance, World, run
from tools.docs import FOLDER

#: Generated pages, which have excerpts of tested sources.
GENERATED = {*FOLDER.glob("operators/*.md"), FOLDER / "sensors.md"}
PAGES = [page for page in sorted([*ROOT.glob("*.md"), *FOLDER.rglob("*.md")]) if page not in GENERATED]
#: Pages whose commands and files a separate test runs together, in a new folder and a new Airflow.
TESTED_ELSEWHERE = {FOLDER / "tutorial.md", FOLDER / "howto" / "test_your_dag.md"}
#: Drawings, which need no language.
DRAWING = re.compile("[─▶│└├]")


class Block(NamedTuple):
    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        first = self.text.partition("\n")[0]
        return f"{self.page.relative_to(ROOT)}: {first}"


def list_blocks(page: Path) -> Iterator[Block]:
    matches = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for _, language, text in matches:
        yield Block(page, language, textwrap.dedent(text))


BLOCKS = [block for page in PAGES if page not in TESTED_ELSEWHERE for block in list_blocks(page)]


def parametrize_blocks(language: str) -> pytest.MarkDecorator:
    blocks = [block for block in BLOCKS if block.language == language]
    assert blocks
    return pytest.mark.parametrize("block", blocks, ids=str)


def test_every_block_has_a_tested_language() -> None:
    languages = {"python", "json", "yaml", "dockerfile", "sh", "text"}
    assert [str(block) for block in BLOCKS if block.language not in languages and not DRAWING.search(block.text)] == []


@pytest.mark.filterwarnings("ignore")
@parametrize_blocks("python")
def test_python_can_be_executed(block: Block) -> None:
    from airflow.timetables.interval import CronDataIntervalTimetable

    names: dict[str, Any] = {name: getattr(operators, name) for name in operators.__all__}
    names |= {name: getattr(sensors, name) for name in sensors.__all__}
    names |= {name: getattr(task_groups, name) for name in task_groups.__all__}
    names |= {name: value for module in (notifications, triggers) for name, value in vars(module).items()}
    names |= {
        "MODEL": "arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/00000000-0000-4000-8000-000000000000"
    }
    if "airflow.sdk" in block.text or "AssetWatcher" in block.text:
        pytest.importorskip("airflow.sdk", reason="Airflow 2 has other names for assets, and no asset watchers")
        from airflow.sdk import Asset, AssetWatcher

        names |= {"Asset": Asset, "AssetWatcher": AssetWatcher}
    if "airflow_cleanroomsml.retries" in block.text:
        pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="retry policies came with Airflow 3.3")
    names |= {"pendulum": pendulum, "DAG": DAG, "CronDataIntervalTimetable": CronDataIntervalTimetable}
    with DAG("snippet", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
        # Snippets refer to these tasks without creating them.
        if "train =" not in block.text:
            names["train"] = operators.CleanRoomsMLCreateAudienceModelOperator(
                task_id="train", name="n", training_dataset_arn="arn"
            )
        names["membership"] = operators.CleanRoomsFindMembershipOperator(
            task_id="membership", collaboration_identifier="c"
        )
        exec(compile(block.text, str(block), "exec"), names)


def test_a_misspelt_argument_in_python_is_found() -> None:
    block = Block(ROOT / "README.md", "python", "CleanRoomsMLCallOperator(task_id='t', operation='o', parametres={})")
    # TypeError in Airflow 3, AirflowException in 2.11.
    with pytest.raises(Exception, match="parametres"):
        test_python_can_be_executed(block)


@parametrize_blocks("json")
def test_json_parses(block: Block) -> None:
    json.loads(block.text)


def build_object_url(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Build the URL at which Airflow's hook looks for an object, in a process with these environment variables."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client: Any = S3Hook("aws_default").conn
    return str(client.generate_presigned_url("get_object", Params={"Bucket": "my-bucket", "Key": "key"}))


@parametrize_blocks("yaml")
def test_a_compose_file_reaches_the_emulator_that_it_includes(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    compose = yaml.safe_load(block.text)
    (included,) = compose["include"]
    command = yaml.safe_load((ROOT / included).read_text(encoding="utf-8"))["services"]["emulator"]["command"]
    for service in compose["services"].values():
        url = build_object_url(service["environment"], monkeypatch)
        host = command[command.index("--allowed-host") + 1]
        assert url.startswith(f"http://{host}:5055/my-bucket/key?")


def test_astronomers_containers_reach_emulator_on_host(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (block for block in BLOCKS if block.page.name == "astronomer.md" and "ENDPOINT" in block.text)
    environment = dict(word.split("=", 1) for words in list_commands(block.text) for word in words)
    assert build_object_url(environment, monkeypatch).startswith("http://host.docker.internal:5055/my-bucket/key?")


def list_official_versions() -> set[str]:
    """List the versions of Airflow whose constraints this package installs with."""
    return {path.name.split("-")[1] for path in (ROOT / "constraints").glob("airflow-*-official.txt")}


@pytest.mark.parametrize("block", [block for block in BLOCKS if "constraints-" in block.text], ids=str)
def test_constraints_are_those_of_a_tested_version(block: Block) -> None:
    versions = set(re.findall(r"constraints-([\d.]+)/|apache/airflow:([\d.]+)-", block.text))
    assert {version for pair in versions for version in pair if version} <= list_official_versions()


def check_pip(*words: str) -> None:
    # A clone has the same package as an index.
    for word in (re.sub(r"^\.(?=\[|$)", "airflow-provider-cleanroomsml", word) for word in words):
        if "/" in word:
            assert "://" in word or (ROOT / word).exists(), word
        elif not word.startswith("-") and word != "pytest":
            requirement = Requirement(word)
            assert requirement.name == "airflow-provider-cleanroomsml"
            pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            assert all(re.search(rf"^{extra} = \[", pyproject, re.MULTILINE) for extra in requirement.extras)


@cache
def build_airflow_parser() -> argparse.ArgumentParser:
    from airflow.cli.cli_parser import get_parser

    parser: argparse.ArgumentParser = get_parser()
    return parser


def check_emulator(*words: str) -> None:
    text = (ROOT / "airflow_cleanroomsml" / "emulator" / "__main__.py").read_text(encoding="utf-8")
    options = [word for word in words if word.startswith("--")]
    assert [option for option in options if f'"{option}"' not in text] == []


def check_make(target: str, *_: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), target


def check_nox(*words: str) -> None:
    session = words[words.index("-s") + 1]
    assert f"def {session.replace('-', '_')}(session" in (ROOT / "noxfile.py").read_text(encoding="utf-8")


def check_command(name: str, *words: str) -> None:
    """Fail unless the program accepts these arguments."""
    if (name, *words[:2]) == ("python", "-m", "airflow_cleanroomsml.emulator"):
        check_emulator(*words[2:])
    elif name.endswith("python") and words[:2] == ("-m", "nox"):
        check_nox(*words[2:])
    elif name == "airflow":
        build_airflow_parser().parse_args([word for word in words if word != ">"])
    elif name == "pip":
        assert words[0] in {"install", "wheel"}
        check_pip(*words[1:])
    elif name == "make":
        check_make(*words)
    elif name == "nox":
        check_nox(*words)
    else:
        assert name in {"docker", "export", "pytest"} or "=" in name, f"no test knows the command {name}"


def list_commands(text: str) -> Iterator[list[str]]:
    """Yield the commands in a block of shell, without comments."""
    pending = ""
    for line in text.splitlines():
        pending += line + "\n"
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # the quotation continues on the next line
            continue
        pending = ""
        if words:
            yield words


@parametrize_blocks("sh")
def test_command_exists(block: Block) -> None:
    for words in list_commands(block.text):
        check_command(*words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_inline_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for command in re.findall(r"`((?:make|nox|python -m airflow_cleanroomsml\.emulator|pip install) [^`…]+)`", text):
        words = shlex.split(command)
        if words[0] == "make" and "=" in words[1]:
            words.pop(1)
        if len(words) > 1:
            check_command(*words)


def describe_invalid_request(world: World) -> str:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}:audience-model/00000000-0000-4000-8000-000000000000"
    invalid: dict[str, Any] = {
        "output_config": {"destination": {"s3Destinatoin": {"s3Uri": "s3://b/p"}}, "roleArn": world.role},
        "shared_audience_metrics": ["SOME"],
        "min_matching_seed_size": 24,
    }
    create = operators.CleanRoomsMLCreateConfiguredAudienceModelOperator(
        task_id="t", name="n", audience_model_arn=arn, **invalid
    )
    with pytest.raises(InvalidRequestError) as caught:
        run(create)
    return str(caught.value)


def describe_failed_job(world: World) -> str:
    reason = "99,999 users with at least 2 interactions; at least 100,000 are required"
    dataset = world.build().create_dataset("failing")
    world.add_fault("CreateAudienceModel", "fail_job", code="INSUFFICIENT_USERS", message=reason)
    create = operators.CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="weekly-20260104T000000", training_dataset_arn=dataset, waiter_delay=1
    )
    with pytest.raises(JobFailedError) as caught:
        run(create)
    return f"JobFailedError: {caught.value}"


def describe_end_of_job(world: World) -> str:
    dataset = world.build().create_dataset("failing")
    world.add_fault("CreateAudienceModel", "fail_job", code="NO_DATA", message="No interactions.")
    train = operators.CleanRoomsMLCreateAudienceModelOperator(
        task_id="train", name="weekly", training_dataset_arn=dataset, waiter_delay=1
    )
    ti = TaskInstance("scheduled__2026-11-23T00:00:00+00:00")
    vars(ti).update(
        task_id="train",
        dag_id="weekly_audience",
        start_date=datetime.now(timezone.utc) - timedelta(hours=26, minutes=3),
    )
    with pytest.raises(JobFailedError) as caught:
        run(train, ti=ti)
    context: Any = {"ti": ti, "task": train, "exception": caught.value}
    return str(describe_end(context)["message"]).replace(world.account, "123456789012")


def describe_findings(world: World) -> str:
    data = TrainingData(world).create()
    create_role(world, None, "glue:*", "s3:ListBucket", "s3:GetBucketLocation")
    milliseconds = [(user, item, time * 1_000) for user, item, time in build_rows()]
    data.put(data.days[0], milliseconds[::2])
    data.put(data.days[1], milliseconds[1::2])
    check = operators.CleanRoomsMLCheckTrainingDataOperator(
        task_id="t",
        training_data=data.data,
        role_arn=world.role,
        statistics="files",
        min_interactions=1_000,
        min_users=100,
    )
    with pytest.raises(DataCheckFailedError) as caught:
        run(check)
    return str(caught.value)


def describe_curve(_: World) -> str:
    bins = (Bin("PERCENTAGE", 1, 0.573), Bin("PERCENTAGE", 5, -0.15))
    return f"{Metrics(bins, 0.87, 0.2)}."


def describe_log(_: World) -> str:
    arn = "arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-generation-job/1"
    wait = Wait("audience generation job", Goal.CREATED, {"audience_generation_job_arn": arn}, 0, 82_800, 60)
    history, lines = StatusHistory(), []
    for seconds, status in ((0, "CREATE_PENDING"), (2, "CREATE_PENDING"), (61, "CREATE_IN_PROGRESS"), (7831, "ACTIVE")):
        poll_result = PollResult(status, Outcome.SUCCESS if status == "ACTIVE" else Outcome.PENDING)
        is_new = history.record(poll_result, seconds)
        lines.append(summarize(wait, poll_result, seconds, is_repeated=not is_new))
    lines[-1] = f"ACTIVE {history.describe_durations(0)}: {wait.title}"
    bins = (Bin("PERCENTAGE", 1, 0.573), Bin("PERCENTAGE", 5, -0.15))
    return "\n".join([*lines, f"Metrics: {Metrics(bins, 0.87, 0.2)}"])


#: The function that produces the output on each page.
OUTPUTS: dict[str, Callable[[World], str]] = {
    "docs/guide.md": describe_log,
    "README.md": describe_invalid_request,
    "docs/howto/check_training_data.md": describe_findings,
    "docs/howto/choose_size.md": describe_curve,
    "docs/howto/read_a_failure.md": describe_failed_job,
    "docs/howto/retries_and_notifications.md": describe_end_of_job,
}
#: Pages whose blocks of text are not output of a task: requirements, which are tested above, and the report of tests/aws/, which has
#: a separate test.
NO_OUTPUT = {"docs/deployment/astronomer.md", "docs/deployment/mwaa.md", "docs/real_account.md"}


@parametrize_blocks("text")
def test_page_shows_actual_output(empty_world: World, block: Block) -> None:
    page = str(block.page.relative_to(ROOT))
    if page in NO_OUTPUT:
        assert page.startswith("docs/real") or "airflow-provider-cleanroomsml" in block.text.splitlines()
        return
    if page == "docs/howto/check_training_data.md":
        pytest.importorskip("pyarrow", reason="the older sessions have no pyarrow")
    printed = OUTPUTS[page](empty_world)
    assert re.fullmatch(re.escape(block.text.rstrip()).replace("…", ".*"), printed.rstrip(), re.DOTALL), printed
