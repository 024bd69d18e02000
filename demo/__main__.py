"""``make demo``: a lookalike audience of a million interactions, by the example Dag, in a real Airflow, without an AWS account."""

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

from demo.interactions import Interactions, generate
from demo.report import draw, recall, table

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "demo"
DAG_ID = "example_lookalike_audience"
ACCOUNT, REGION, BUCKET = "123456789012", "us-east-1", "lookalike-demo"
SEED_USERS, TASTE_USERS, BINS = 1_000, 3_000, (1, 5, 10)
_TELLING = re.compile(
    r"(?:\[info *\]|INFO - ?) *((?:Made|Going on with) the .*?|(?:ACTIVE|CREATE_\w+) after .*?)(?: \[airflow|\s*$)"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def say(text: str = "") -> None:
    """A line, at once."""
    print(text, flush=True)


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """The emulator in a process of its own; its address."""
    command = [sys.executable, "-m", "airflow_cleanroomsml.emulator", "--port", "0", "--stop-with-stdin"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=_environment()
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if "=" not in line:
                raise SystemExit("The emulator did not start; its message stands above.")
            yield line.strip().split("=", 1)[1]
        finally:
            process.terminate()


def _environment(**more: str) -> dict[str, str]:
    """This environment without the user's AWS and Airflow set-up."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW_"))}
    return {**kept, **more}


def upload(url: str, data: Interactions, seed: list[str]) -> None:
    """Put table and seed where the Dag looks for them."""
    session = boto3.session.Session(ACCOUNT, "demo", region_name=REGION)
    s3, glue = session.client("s3", endpoint_url=url), session.client("glue", endpoint_url=url)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="interactions/interactions.csv", Body=data.write_csv())
    lines = "".join(json.dumps({"user_id": user}) + "\n" for user in seed)
    s3.put_object(Bucket=BUCKET, Key="seed/users.jsonl", Body=lines.encode())
    glue.create_database(DatabaseInput={"Name": "lookalike"})
    columns = {
        "user_id": "string",
        "item_id": "string",
        "timestamp": "bigint",
        "event_type": "string",
        "event_value": "int",
    }
    glue.create_table(
        DatabaseName="lookalike",
        TableInput={
            "Name": "interactions",
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"classification": "csv", "skip.header.line.count": "1"},
            "StorageDescriptor": {
                "Columns": [{"Name": name, "Type": kind} for name, kind in columns.items()],
                "Location": f"s3://{BUCKET}/interactions/",
                "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
                "SerdeInfo": {
                    "SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde",
                    "Parameters": {"separatorChar": ","},
                },
            },
        },
    )


def run_dag(url: str, home: str) -> dict[str, Any]:
    """Run the example Dag in an Airflow of its own, and pass on what its tasks say."""
    environment = _environment(
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
    with log.open("w") as kept:
        for command in ([sys.executable, "-m", "airflow", "db", "migrate"], run):
            if _passed_on(command, environment, kept) != 0:
                say(
                    f"\nIt failed. The whole log: {log}\nIts end:\n"
                    + "".join(log.read_text().splitlines(keepends=True)[-15:])
                )
                raise SystemExit(1)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def _passed_on(command: list[str], environment: dict[str, str], kept: Any) -> int:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    ) as process:
        shown = None
        for line in process.stdout or ():
            kept.write(line)
            match = _TELLING.search(_COLOUR.sub("", line))
            text = match[1] if match else None
            if text and text != shown:
                say(f"    {text}")
                shown = text
        return process.wait()


def audience(url: str, location: str) -> list[str]:
    """The users of an exported audience, in its own order."""
    s3 = boto3.session.Session(ACCOUNT, "demo", region_name=REGION).client("s3", endpoint_url=url)
    bucket, prefix = location.removeprefix("s3://").split("/", 1)
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    lines = b"".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in sorted(keys)).splitlines()
    return [json.loads(line)["user_id"] for line in lines]


def report(run: dict[str, Any], users: list[str], data: Interactions, taste: int) -> None:
    """Everything that came out."""
    tasks = run["tasks"]
    rows = [(name, f"{task['seconds']:.1f}", _result(task)) for name, task in _ordered(tasks)]
    say(f"\nTasks\n{table(('task', 'seconds', 'result'), rows, '<><')}")
    metrics = tasks["generate"]["xcom"]["metrics"]
    total = len(data.user_ids)
    found = recall(users, data.held_out(taste), {percent: total * percent // 100 for percent in BINS})
    say(f"\nAudience by size\n{_sizes(metrics, found)}")
    say("  relevance: the job's own, -1 to 1; at 0 the audience is as much like the seed as the seed's own users are")
    say("  recall: of the users of the planted taste that no seed contains, from the ranking exported")
    draw(BUILD / "relevance.png", metrics, found)
    wanted = set(data.user_ids[data.taste == taste].tolist())
    sharing = len(wanted.intersection(users))
    say(f"\nrecallMetric of the job  {metrics['recallMetric']:.3f} (a random choice: 0.2, the largest size)")
    say(f"audience                 {tasks['export']['xcom']['return_value']['output_location']}")
    (BUILD / "audience.txt").write_text("\n".join(users) + "\n")
    say(f"a copy of its user ids   {(BUILD / 'audience.txt').relative_to(ROOT)}, best first")
    say(f"users in it              {len(users):,}, without the seed's")
    say(f"of the seed's taste      {sharing:,} ({sharing / len(users):.1%}; of all users {len(wanted) / total:.1%})")
    say(f"picture                  {(BUILD / 'relevance.png').relative_to(ROOT)}")
    say(f"Airflow's log            {(BUILD / 'airflow.log').relative_to(ROOT)}")


def _sizes(metrics: dict[str, Any], found: dict[int, float]) -> str:
    rows = []
    for entry in metrics["relevanceMetrics"]:
        percent = entry["audienceSize"]["value"]
        share = found.get(percent)
        marks = (f"{share:.1%}", f"{percent}.0%", f"{100 * share / percent:.1f}") if share is not None else ("",) * 3
        rows.append((f"{percent} %", f"{entry['score']:.3f}", *marks))
    return table(("size", "relevance", "recall", "chance", "times chance"), rows, ">>>>>")


def _ordered(tasks: dict[str, Any]) -> list[tuple[str, Any]]:
    order = ("create_dataset", "create_model", "configure_model", "generate", "export")
    return [(name, tasks[name]) for name in order]


def _result(task: dict[str, Any]) -> str:
    value = task["xcom"]["return_value"]
    return value if isinstance(value, str) else f"export {value['name']!r}"


def main() -> None:
    """Do it all, and leave nothing running."""
    begin = time.monotonic()
    BUILD.mkdir(parents=True, exist_ok=True)
    say("1/4 Generating 1,000,000 interactions of 100,000 users with planted tastes")
    data = generate()
    taste = data.taste_nearest(TASTE_USERS)
    seed = data.seed_of(taste, SEED_USERS)
    say(f"    the seed: {len(seed):,} of the {int((data.taste == taste).sum()):,} users of taste {taste}")
    with emulator() as url, tempfile.TemporaryDirectory(prefix="airflow-home-") as home:
        say(f"2/4 Uploading them to S3 and registering the Glue table, at {url}")
        upload(url, data, seed)
        say(
            "3/4 Setting up Airflow and running the Dag example_lookalike_audience (Airflow's own start takes most of the time)"
        )
        run = run_dag(url, home)
        if run["state"] != "success":
            raise SystemExit(f"The run ended as {run['state']}; see {BUILD / 'airflow.log'}")
        say("4/4 Reading the audience back")
        users = audience(url, run["tasks"]["export"]["xcom"]["return_value"]["output_location"])
        report(run, users, data, taste)
    seconds = sum(task["seconds"] for task in run["tasks"].values())
    say(
        f"\nDone in {time.monotonic() - begin:.0f} s; the five tasks took {seconds:.1f} s, emulator included. Nothing is left running."
    )


if __name__ == "__main__":
    main()
