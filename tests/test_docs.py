"""The reference matches its generator and covers every class, and the links in the docs resolve."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import botocore
import pytest

from airflow_cleanroomsml import operators, sensors
from airflow_cleanroomsml._requests.request import TESTED_BOTOCORE, find_argument_shapes
from tests.helpers.exported_classes import every_operation, every_task, list_arguments
from tools.docs import FOLDER, SHARED, build_pages
from tools.docstrings import Docstring, describe_annotation, format_table, to_markdown
from tools.excerpts import find_excerpt
from tools.members import explain_members

ROOT = Path(__file__).parents[1]
reference = pytest.mark.skipif(
    botocore.__version__ != TESTED_BOTOCORE, reason=f"the pages are written with botocore {TESTED_BOTOCORE}"
)
GENERATED = build_pages() if botocore.__version__ == TESTED_BOTOCORE else {}
TEXTS = sorted([*ROOT.glob("*.md"), *FOLDER.rglob("*.md")])


@reference
@pytest.mark.parametrize("name", GENERATED)
def test_page_matches_generator(name: str) -> None:
    path = FOLDER / name
    assert path.is_file(), f"docs/{name} is missing: run `make docs`"
    assert path.read_text(encoding="utf-8") == GENERATED[name], f"docs/{name} is not current: run `make docs`"


@reference
def test_deleted_modules_have_no_page() -> None:
    on_disk = {f"operators/{path.name}" for path in (FOLDER / "operators").iterdir()}
    assert on_disk - set(GENERATED) == set()


@every_task
def test_class_has_one_entry(cls: type[Any]) -> None:
    texts = [path.read_text(encoding="utf-8").splitlines() for path in FOLDER.rglob("*.md")]
    assert sum(text.count(f"## {cls.__name__}") for text in texts) == 1


@every_task
def test_class_is_used_by_an_example(cls: type[Any]) -> None:
    excerpt = find_excerpt(cls.__name__)
    assert excerpt, f"no Dag in example_dags/ has a task of {cls.__name__}"
    assert re.search(rf"\b{cls.__name__}(\.partial)?\($", excerpt.source, re.MULTILINE)


@pytest.mark.parametrize("base", SHARED.values(), ids=lambda base: base.__name__)
def test_shared_arguments_are_described_in_order(base: type[Any]) -> None:
    assert list(Docstring.parse(base).arguments) == list_arguments(base)


def remove_code(text: str) -> str:
    """Remove code from Markdown, because it may look like links and headings."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!\[)`[^`\n]+`(?!\])", "", text)


def find_anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub builds them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    anchors: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return anchors


def is_broken(link: str, text: Path) -> bool:
    target, _, anchor = link.partition("#")
    path = (text.parent / target).resolve() if target else text
    return not path.exists() or bool(anchor and anchor not in find_anchors(path))


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(text: Path) -> None:
    links = re.findall(r"\]\(([^()\s]+)\)", remove_code(text.read_text(encoding="utf-8")))
    relative = [link for link in links if not re.match(r"\w+:", link)]
    assert [link for link in relative if is_broken(link, text)] == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    text = tmp_path / "a.md"
    text.write_text("# Here, `x` (1)\n\n# Twice\n\n# Twice\n\n```\n# No heading\n```\n", encoding="utf-8")
    assert not any(is_broken(link, text) for link in ("a.md", "#here-x-1", "a.md#twice-1"))
    assert all(is_broken(link, text) for link in ("b.md", "#no-heading", "a.md#twice-2"))


def test_docstring_becomes_markdown() -> None:
    class Example:
        """
        First ``a`` sentence.

        Another, of
        two lines: see :class:`~package.module.Name`.

        :param name: What ``name``
            means.
        :return: A result.
        :raises Error: Sometimes.
        """

    assert Docstring.parse(Example) == Docstring(
        ["First `a` sentence.", "Another, of two lines: see `Name`."],
        {"name": "What `name` means."},
        "A result.",
        {"Error": "Sometimes."},
    )


def test_table_escapes_vertical_bar() -> None:
    last = format_table(("a", "b"), [(to_markdown("``x|y``"), "z")]).splitlines()[-1]
    assert len(re.split(r"(?<!\\)\|", last)) == len(["", "a", "b", ""])


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("Templated[str] | None", "text"),
        ("Templated[Sequence[Templated[AudienceSize]]]", "list of mappings `{type, value}`"),
        ("Templated[StoppingCondition] | None", "mapping `{maxRuntimeInSeconds?}`"),
        ("Templated[TrainingInputMode]", "`File`, `FastFile` or `Pipe`"),
        ("Templated[str | Mapping[str, Any]]", "text or mapping"),
    ],
)
def test_a_type_becomes_words(annotation: str, words: str) -> None:
    assert describe_annotation(annotation) == words


def list_members(shape: Any) -> list[str]:
    """List the names of all members below a shape, in order."""
    if shape.type_name == "list":
        return list_members(shape.member)
    own = shape.members.items() if shape.type_name == "structure" else ()
    return [each for name, member in own for each in (name, *list_members(member))]


@every_operation
def test_every_member_of_an_argument_is_explained(cls: type[Any]) -> None:
    shapes = find_argument_shapes(cls.service, cls.operation)
    text = explain_members(cls)
    expected = [name for argument in cls.arguments if argument in shapes for name in list_members(shapes[argument])]
    assert re.findall(r"^ *- `(\w+)`", text, re.MULTILINE) == expected
    headings = re.findall(r"^Members of `(\w+)`:$", text, re.MULTILINE)
    assert headings == [argument for argument in cls.arguments if argument in shapes and list_members(shapes[argument])]


@reference
@pytest.mark.parametrize(
    ("cls", "line"),
    [
        (operators.CleanRoomsMLStartAudienceExportJobOperator, "- `value` (required): integer, 1 to 20,000,000"),
        (operators.CleanRoomsMLStartAudienceGenerationJobOperator, "  - `s3Uri` (required): text, `s3://…`"),
        (operators.CleanRoomsMLStartAudienceGenerationJobOperator, "- `roleArn` (required): text, ARN of an IAM role"),
        (operators.CleanRoomsMLCreateMLInputChannelOperator, "      - `parameters`: mapping of texts"),
        (operators.CleanRoomsMLCreateMLInputChannelOperator, "    - `resultFormat`: text, `CSV` or `PARQUET`"),
        (
            operators.CleanRoomsMLCreateConfiguredAudienceModelOperator,
            "- `audienceSizeBins` (required): list of 1 to 25 integers, each 1 to 20,000,000",
        ),
        (sensors.CleanRoomsMLAudienceExportJobSensor, "- `type` (required): text, `ABSOLUTE` or `PERCENTAGE`"),
    ],
)
def test_member_shows_its_type_and_limits(cls: type[Any], line: str) -> None:
    assert line in explain_members(cls).splitlines()


def list_settings() -> set[str]:
    """List the options of Airflow's configuration and the environment variables that the package reads."""
    package = ROOT / "airflow_cleanroomsml"
    modules = [path for path in package.rglob("*.py") if not {"emulator", "testing"}.intersection(path.parts)]
    text = "".join(path.read_text(encoding="utf-8") for path in modules)
    options = re.findall(r"\bconf\.get\w*\(\s*\"(\w+)\", \"(\w+)\"", text)
    variables = re.findall(r"os\.environ\.get\(\"(\w+)\"", text) + re.findall(r"\"(AWS_ENDPOINT_URL)\"", text)
    return {f"[{section}] {key}" for section, key in options} | set(variables)


def test_every_setting_has_a_row() -> None:
    page = (FOLDER / "settings.md").read_text(encoding="utf-8")
    assert {"[operators] default_deferrable", "AWS_CA_BUNDLE"} <= list_settings()
    assert [setting for setting in sorted(list_settings()) if f"`{setting}`" not in page] == []


def test_the_architecture_is_one_page() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split()) <= 1_500
