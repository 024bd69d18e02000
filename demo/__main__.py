"""``make demo``: run the example Dag for a lookalike audience in a real Airflow, on a million interactions and without an AWS account."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from airflow_cleanroomsml.emulator.sample.interactions import Interactions, generate
from airflow_cleanroomsml.emulator.sample.upload import upload_interactions, upload_seed
from demo.report import compute_recall, draw_charts, format_table

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "demo"
DAG_ID = "example_lookalike_audience"
ACCOUNT, REGION, BUCKET = "123456789012", "us-east-1", "lookalike-demo"
SEED_USERS, TASTE_USERS, BINS = 1_000, 3_000, (1, 5, 10)
#: Lines of the task logs that show the progress of the resources.
_PROGRESS = re.compile(
    r"(?:\[info *\]|INFO - ?) *((?:Created|Using) the .*?|(?:ACTIVE|CREATE_\w+) after .*?)(?: \[airflow|\s*$)"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def say(text: str = "") -> None:
    """Print a line."""
    # Output to a pipe would be buffered until the end.
    print(text, flush=True)


@contextlib.contextmanager
def run_emulator() -> Iterator[str]:
    """Run the emulator in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "airflow_cleanroomsml.emulator", "--port", "0", "--stop-with-stdin"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=_build_environment()
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if "=" not in line:
                raise SystemExit("The emulator did not start; see its error message above.")
            yield line.strip().split("=", 1)[1]
        finally:
            process.terminate()


def _build_environment(**more: str) -> dict[str, str]:
    """Return the environment without the user's settings of AWS and Airflow, and with more variables."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW_"))}
    return {**others, **more}


def upload(url: str, data: Interactions, seed: list[str]) -> None:
    """Upload the interactions and the seed, and create the Glue table."""
    session = boto3.session.Session(ACCOUNT, "demo", region_name=REGION)
    s3, glue = session.client("s3", endpoint_url=url), session.client("glue", endpoint_url=url)
    s3.create_bucket(Bucket=BUCKET)
    upload_interactions(s3, glue, BUCKET, data)
    upload_seed(s3, BUCKET, "seed/users.jsonl", seed)


def run_dag(url: str, home: str) -> dict[str, Any]:
    """Run the example Dag in an Airflow of its own, and print the progress of its tasks."""
    environment = _build_environment(
        AIRFLOW_HOME=home,
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "example_dags"),
        AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
        AIRFLOW_CONN_AWS_DEFAULT='{"conn_type": "aws"}',
        AWS_ENDPOINT_URL=url,
        AWS_ACCESS_KEY_ID=ACCOUNT,
        AWS_SECRET_ACCESS_KEY="demo",
        AWS_DEFAULT_REGION=REGION,
    )
    conf, out, log = Path(home, "conf.json"), Path(home, "out.json"), BUILD / "airflow.log"
    conf.write_text(
        json.dumps(
            {
                "role_arn": f"arn:aws:iam::{ACCOUNT}:role/cleanrooms-ml-lookalike",
                "seed_uri": f"s3://{BUCKET}/seed/users.jsonl",
                "output_uri": f"s3://{BUCKET}/audiences",
            }
        )
    )
    dag_file = str(ROOT / "example_dags" / f"{DAG_ID}.py")
    run = [sys.executable, "-m", "demo.airflow_run", dag_file, DAG_ID, str(conf), str(out)]
    with log.open("w") as log_file:
        for command in ([sys.executable, "-m", "airflow", "db", "migrate"], run):
            if _run_and_echo(command, environment, log_file) != 0:
                end = "".join(log.read_text().splitlines(keepends=True)[-15:])
                say(f"\nThe run failed. Its log, {log}, ends with:\n{end}")
                raise SystemExit(1)
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def _run_and_echo(command: list[str], environment: dict[str, str], log_file: Any) -> int:
    """Run a command, log its output, and print the progress in it; returns its exit code."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    ) as process:
        last = None
        for line in process.stdout or ():
            log_file.write(line)
            match = _PROGRESS.search(_COLOUR.sub("", line))
            text = match[1] if match else None
            if text and text != last:
                say(f"    {text}")
                last = text
        return process.wait()


def read_audience(url: str, location: str) -> list[str]:
    """Read the users of an exported audience, best first."""
    s3 = boto3.session.Session(ACCOUNT, "demo", region_name=REGION).client("s3", endpoint_url=url)
    bucket, prefix = location.removeprefix("s3://").split("/", 1)
    # The names of the files have the order of the ranking (part-00000.jsonl and so on).
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    lines = b"".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in sorted(keys)).splitlines()
    return [json.loads(line)["user_id"] for line in lines]


def print_report(run: dict[str, Any], users: list[str], data: Interactions, taste: int) -> None:
    """Print the results, and draw them."""
    tasks = run["tasks"]
    rows = [(name, f"{task['seconds']:.1f}", _format_result(task)) for name, task in _order_tasks(tasks)]
    say(f"\nTasks\n{format_table(('task', 'seconds', 'result'), rows, '<><')}")
    metrics = tasks["generate"]["xcom"]["metrics"]
    # The percentages of the bins refer to all users of the training data.
    total = len(data.user_ids)
    shares = compute_recall(users, data.list_held_out(taste), {percent: total * percent // 100 for percent in BINS})
    say(f"\nAudience by size\n{_format_sizes(metrics, shares)}")
    say("  relevance: metric of the job, -1 to 1; at 0 the audience is as similar to the seed as the seed's own users")
    say("  recall: share of held-out users with the seed's preference in the exported audience")
    draw_charts(BUILD / "relevance.png", metrics, shares)
    same_taste = set(data.user_ids[data.taste == taste].tolist())
    hits = len(same_taste.intersection(users))
    say(f"\nrecallMetric of the job  {metrics['recallMetric']:.3f} (random: 0.2, the largest size)")
    say(f"audience                 {tasks['export']['xcom']['return_value']['output_location']}")
    (BUILD / "audience.txt").write_text("\n".join(users) + "\n")
    say(f"copy of its user ids     {(BUILD / 'audience.txt').relative_to(ROOT)}, best first")
    say(f"users                    {len(users):,}, without the seed")
    say(f"with its preference      {hits:,} ({hits / len(users):.1%}; of all users {len(same_taste) / total:.1%})")
    say(f"charts                   {(BUILD / 'relevance.png').relative_to(ROOT)}")
    say(f"Airflow's log            {(BUILD / 'airflow.log').relative_to(ROOT)}")


def _format_sizes(metrics: dict[str, Any], shares: dict[int, float]) -> str:
    rows = []
    for entry in metrics["relevanceMetrics"]:
        percent = entry["audienceSize"]["value"]
        share = shares.get(percent)
        cells = (f"{share:.1%}", f"{percent}.0%", f"{100 * share / percent:.1f}") if share is not None else ("",) * 3
        rows.append((f"{percent} %", f"{entry['score']:.3f}", *cells))
    return format_table(("size", "relevance", "recall", "random", "times random"), rows, ">>>>>")


def _order_tasks(tasks: dict[str, Any]) -> list[tuple[str, Any]]:
    order = ("create_dataset", "create_model", "configure_model", "generate", "export")
    return [(name, tasks[name]) for name in order]


def _format_result(task: dict[str, Any]) -> str:
    value = task["xcom"]["return_value"]
    return value if isinstance(value, str) else f"export {value['name']!r}"


def main() -> None:
    """Run the demo."""
    begin = time.monotonic()
    BUILD.mkdir(parents=True, exist_ok=True)
    say("1/4 Generating 1,000,000 interactions of 100,000 users with known preferences")
    data = generate()
    taste = data.find_taste(TASTE_USERS)
    seed = data.draw_seed(taste, SEED_USERS)
    say(f"    seed: {len(seed):,} of the {int((data.taste == taste).sum()):,} users with preference {taste}")
    with run_emulator() as url, tempfile.TemporaryDirectory(prefix="airflow-home-") as home:
        say(f"2/4 Uploading them to S3 and creating the Glue table, at {url}")
        upload(url, data, seed)
        say(
            "3/4 Setting up Airflow and running the Dag example_lookalike_audience (starting Airflow takes most of the time)"
        )
        run = run_dag(url, home)
        if run["state"] != "success":
            raise SystemExit(f"The Dag run ended with state {run['state']}; see {BUILD / 'airflow.log'}")
        say("4/4 Reading the audience")
        users = read_audience(url, run["tasks"]["export"]["xcom"]["return_value"]["output_location"])
        print_report(run, users, data, taste)
    seconds = sum(task["seconds"] for task in run["tasks"].values())
    say(
        f"\nDone in {time.monotonic() - begin:.0f} s, of which the five tasks took {seconds:.1f} s. No process is left running."
    )


if __name__ == "__main__":
    main()
