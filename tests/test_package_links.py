"""The links in the package's metadata: none is relative, and all URLs come from one table."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hatchling", reason="only the build needs it")

from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

from tools.package_links import replace_relative_links

ROOT = Path(__file__).parents[1]
RELATIVE = re.compile(r"\]\((?![a-z]+:|#)[^()\s]+\)")
URLS = ("Documentation", "Changelog", "Source", "Issues")


def build_metadata(folder: Path, **settings: str) -> ProjectMetadata[Any]:
    """Build the metadata of this package with other settings in the table of its links."""
    for name in ("README.md", "LICENSE", "NOTICE", "tools/package_links.py", "airflow_cleanroomsml/__init__.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, value in settings.items():
        text, count = re.subn(rf'^{name} = ".*"$', f'{name} = "{value}"', text, flags=re.MULTILINE)
        assert count == 1, name
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return ProjectMetadata(str(folder), PluginManager())


def test_no_link_is_relative_without_base_url(tmp_path: Path) -> None:
    core = build_metadata(tmp_path, **dict.fromkeys(("readme-base", *URLS), "")).core
    assert core.urls == {}
    assert "An [Apache Airflow](https://airflow.apache.org) provider" in core.readme
    assert RELATIVE.findall(core.readme) == []


def test_configured_urls_appear(tmp_path: Path) -> None:
    base = "https://example.com/files/"
    urls = {name: f"https://example.com/{name}" for name in URLS}
    core = build_metadata(tmp_path, **{"readme-base": base}, **urls).core
    assert core.urls == urls
    assert f"]({base}docs/assumptions.md)" in core.readme
    assert RELATIVE.findall(core.readme) == []


@pytest.mark.parametrize(
    ("text", "with_base", "without"),
    [
        ("[a](docs/a.md#b)", "[a](https://x/docs/a.md#b)", "a"),
        ("[`a`](b.py), [c](https://d)", "[`a`](https://x/b.py), [c](https://d)", "`a`, [c](https://d)"),
        ("[a](#b)", "[a](#b)", "[a](#b)"),
        ("![a](b.png) c", "![a](https://x/b.png) c", " c"),
        ("```\n[a](b)\n```\n", "```\n[a](b)\n```\n", "```\n[a](b)\n```\n"),
    ],
)
def test_a_link_is_replaced(text: str, with_base: str, without: str) -> None:
    assert replace_relative_links(text, "https://x/") == with_base
    assert replace_relative_links(text, "") == without
