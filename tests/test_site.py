"""The documentation builds as a site without a warning, and its search finds what people look for."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sphinx", reason="the older sessions have no Sphinx")

from tools.site import ROOT, build, collect_pages, list_public_modules

#: What people search for, and a page that must be among the results.
SEARCHES = {
    "managed airflow": "deployment/mwaa",
    "mwaa": "deployment/mwaa",
    "asset": "assets",
    "astronomer": "deployment/astronomer",
    "docker": "deployment/docker",
    "cloudwatch": "cloudwatch",
    "iam policy": "iam_policies",
    "upgrade": "upgrade",
    "troubleshooting": "troubleshooting",
    "data requirements": "operators/audience_model",
    "CleanRoomsMLStartAudienceGenerationJobOperator": "operators/audience_generation_job",
    "CleanRoomsMLTrainedModelSensor": "sensors",
    "QuotaExceededError": "troubleshooting",
}


class Links(HTMLParser):
    """The links, pictures and anchors of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := attributes.get(name))]
        self.anchors |= {value for value in (attributes.get("id"), attributes.get("name")) if value}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    assert build(folder / "source", folder / "site") == 0
    return folder / "site"


def read_index(site: Path) -> Any:
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("Search.setIndex(").rstrip(";\n").removesuffix(")"))


@pytest.fixture(scope="module")
def index(site: Path) -> Any:
    return read_index(site)


def find_pages(index: Any, word: str) -> set[str]:
    """Find the pages whose text, title or headings have a word, stemmed as by Sphinx's search."""
    from sphinx.search.en import SearchEnglish

    language = SearchEnglish({})
    pages: set[str] = set()
    for stored in (index["terms"], index["titleterms"]):
        numbers = stored.get(language.stem(word.lower()), [])
        pages |= {index["docnames"][number] for number in ([numbers] if isinstance(numbers, int) else numbers)}
    return pages


@pytest.mark.parametrize(("query", "page"), SEARCHES.items())
def test_a_search_finds_the_page(index: Any, query: str, page: str) -> None:
    for word in query.split():
        assert page in find_pages(index, word), word


def test_search_for_unknown_word_finds_nothing(index: Any) -> None:
    assert find_pages(index, "xyzzy") == set()


def test_every_public_name_is_in_the_inventory(site: Path) -> None:
    *_, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    names = {line.split(" ", 1)[0] for line in zlib.decompress(packed).decode().splitlines()}
    modules = [importlib.import_module(module) for module in list_public_modules()]
    public = {f"{module.__name__}.{name}" for module in modules for name in getattr(module, "__all__", ())}
    assert "airflow_cleanroomsml.operators.CleanRoomsMLCallOperator" in public
    assert public - names == set()


def test_every_link_within_the_site_resolves(site: Path) -> None:
    pages = {path: Links(path) for path in site.rglob("*.html")}
    assert len(pages) > 60
    broken = []
    for page, parser in pages.items():
        for link in parser.links:
            target, _, anchor = link.partition("#")
            path = (page.parent / re.sub(r"\?.*", "", target)).resolve() if target else page
            if re.match(r"\w+:", link) or path == site / "search.html":
                continue
            if not path.exists() or (anchor and path in pages and anchor not in pages[path].anchors):
                broken.append((page.name, link))
    assert broken == []


def test_pages_load_no_external_files(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert (
            re.findall(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(?:https?:)?//[^"]*"', text) == []
        ), page


def test_every_text_has_a_page() -> None:
    texts = list((ROOT / "docs").rglob("*.md"))
    assert len(collect_pages()) > len(texts)
    tracked = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line for line in tracked.splitlines() if "/" not in line} <= {
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "README.md",
        "SECURITY.md",
    }


def test_broken_links_fail_the_build(tmp_path: Path) -> None:
    links = "[a](nowhere.md), [b](guide.md#no-heading), [c](#not-here)"
    (tmp_path / "index.md").write_text(f"# Title\n\n{links}\n\n```{{toctree}}\nguide\n```\n", encoding="utf-8")
    (tmp_path / "guide.md").write_text("# Guide\n", encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "--conf-dir", str(ROOT / "docs")]
    completed = subprocess.run(
        [*command, "--keep-going", str(tmp_path), str(tmp_path / "site")], capture_output=True, text=True, check=False
    )
    assert completed.returncode != 0
    assert [name for name in ("nowhere.md", "no-heading", "not-here") if name not in completed.stderr] == []
