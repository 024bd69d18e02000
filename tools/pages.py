"""Builds pages of the documentation that are about several classes: the examples, the IAM policies, and lists of other pages."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from airflow_cleanroomsml import operators, sensors
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.schema import ALLOWED_TYPES
from tools.docstrings import format_table, to_markdown
from tools.excerpts import FOLDER as EXAMPLES
from tools.permissions import build_policy

DOCS = Path(__file__).parents[1] / "docs"

#: Policies of the page, each with the example Dag whose tasks they allow.
_POLICIES = {
    "Lookalike pipeline": "example_lookalike_audience",
    "Custom model pipeline": "example_custom_model",
}
_IAM = """\
# IAM policies

Ready-made policies for the role or user of a task's connection. Each is sufficient for the example Dag that it names: the tests run the Dag
in the emulator with exactly these actions. None of this has been tried on AWS. `make docs` generates this page.

- Restrict `"Resource": "*"` to your own resources.
- `iam:PassRole` is allowed for roles whose names start with `cleanrooms-ml`, as in the managed policy `AWSCleanRoomsMLFullAccess`. Adapt it
  to your names.
- The page of each [operator](index.md) has a table of its actions, with the case in which each is needed, and the
  [reference](index.md#permissions) explains them. The how-to pages end with the policies of their tasks, for instance of
  [weekly retraining](howto/weekly_retraining.md#permissions).
- An error lists the actions that its request needs; see [AccessDeniedError](troubleshooting.md#accessdeniederror).
- To find the actions that your own Dag needs, run it against the emulator, which
  [lists the actions that an account has needed](emulator.md#test-permissions).

{policies}

## The roles that you pass

Clean Rooms ML assumes these roles; the trust policy of each must allow `sts:AssumeRole` to `cleanrooms-ml.amazonaws.com`. The user guide
(ml-roles) has their policies.

| argument | the role |
| --- | --- |
| `role_arn` of [a training dataset](operators/training_dataset.md) | reads the Glue table and its files in S3 |
| `output_config` of [a configured audience model](operators/configured_audience_model.md) | writes audiences to S3 |
| `seed_audience` of [a generation job](operators/audience_generation_job.md) | reads the seed in S3, or runs the query |
| `role_arn` of [an algorithm](operators/configured_model_algorithm.md) | pulls the images of the containers from ECR |
| `input_channel` of [an ML input channel](operators/ml_input_channel.md) | runs the query |
| `default_output_location` of [an ML configuration](operators/ml_configuration.md) | writes output to S3, logs and metrics to CloudWatch |
"""
_EXAMPLES = """\
# Examples

Each Dag is one file. The tests run it unchanged against the emulator, in the worker and deferred. Put the file into your Dag folder and set
its parameters. `python -m airflow_cleanroomsml.emulator --with-sample` prints commands that
[run the Dags](emulator.md#starting-with-a-sample) on sample data.

The pictures show each task with its class, without the prefix `CleanRoomsML` and the suffix `Operator`. Sensors are yellow, teardowns
purple. Dependencies that follow from others are left out. `make docs` generates this page.
"""


def build_iam_page() -> str:
    """Build the page of IAM policies."""
    return _IAM.format(policies="\n\n".join(_format_policy(*policy) for policy in _POLICIES.items()))


def _format_policy(title: str, example: str) -> str:
    policy = build_policy(list_classes_of_example(example))
    return f"## {title}\n\nFor [`{example}.py`](../example_dags/{example}.py).\n\n```json\n{policy}\n```"


def list_classes_of_example(example: str) -> list[type[Any]]:
    """Return the operators and sensors that an example imports."""
    tree = ast.parse((EXAMPLES / f"{example}.py").read_text(encoding="utf-8"))
    names = [name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names]
    found = [getattr(operators, name, None) or getattr(sensors, name, None) for name in names]
    return [cls for cls in found if isinstance(cls, type)]


def build_examples_page() -> str:
    """Build the page of example Dags."""
    sections = []
    for path in sorted(EXAMPLES.glob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        text = to_markdown(docstring)
        picture = f"![Tasks of {path.stem}](pictures/{path.stem}.svg)"
        sections.append(
            f"## {path.stem}\n\n{text}\n\nSource: [`{path.name}`](../example_dags/{path.name})\n\n{picture}\n"
        )
    return "\n".join([_EXAMPLES, *sections])


def format_data_requirements() -> str:
    """Format the section about the data that training, seed and export need."""
    rules = DataRules()
    users = (
        f"{rules.min_users:,} or more with at least {rules.min_interactions_per_user} interactions each; of more than "
        f"{rules.max_users:,} the most active ones are used"
    )
    rows = [
        (
            "interactions in the training window",
            f"{rules.min_interactions:,} or more; more than 20 billion are sampled",
        ),
        ("users", users),
        ("items", f"up to 50 million; the {rules.max_items:,} most popular ones are used"),
        ("features", f"up to {rules.max_features} columns of the types `CATEGORICAL_FEATURE` and `NUMERICAL_FEATURE`"),
        ("timestamps", "Unix time in seconds"),
        ("files", "Parquet without ZSTD, CSV or JSON, in S3 in the same region, in a table of AWS Glue"),
        ("seed", f'JSON lines `{{"user_id": "…"}}`; {rules.min_seed} to {rules.max_seed:,} unique users'),
        (
            "users of the seed in the training data",
            "`min_matching_seed_size` of the configured audience model, 500 by default",
        ),
        ("exported audience", f"{rules.min_export:,} users or more"),
    ]
    types = [(f"`{kind}`", ", ".join(f"`{name}`" for name in names)) for kind, names in ALLOWED_TYPES.items()]
    return f"""\
## Data requirements

The service checks the data when it trains an audience model, not when the training dataset is created. What AWS requires (user guide,
ml-training-data-requirements, ml-seed-data-requirements, clean-rooms-ml-quotas):

{format_table(("data", "requirement"), rows)}

Types of the columns in the Glue table; `USER_ID`, `ITEM_ID` and `TIMESTAMP` are required:

{format_table(("column type", "types in AWS Glue"), types)}

A training on data that violate a requirement fails with
[`JobFailedError`](../troubleshooting.md#jobfailederror). The tests train the emulator on data of exactly the required size, and on one user
or interaction less."""


def list_pages(folder: str, up: str = "") -> str:
    """Format a list of links to the pages of a folder of ``docs/``, by title."""
    pages = sorted((DOCS / folder).glob("*.md"))
    return ", ".join(f"[{read_title(page)}]({up}{folder}/{page.name})" for page in pages)


def read_title(page: Path) -> str:
    """Return the title of a page."""
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    title = found[1] if found else page.stem
    # Titles of how-to pages say what one does, and follow "How to:".
    return title[0].lower() + title[1:] if page.parent.name == "howto" else title
