"""
Builds the documentation as a site in ``build/site``: ``make docs``.

The pages are plain Markdown with relative links, as GitHub shows them. This module collects them in one folder for Sphinx, makes the links
lead to their places there, and adds what only a site has: the navigation, the source of linked files, and the API from docstrings.
A new page in ``docs/`` appears by itself.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import airflow_cleanroomsml

ROOT = Path(__file__).parents[1]
COLLECTED = ROOT / "build" / "site-source"
SITE = ROOT / "build" / "site"

#: Where pages of the repository stand in the site; pages in ``docs/`` keep their place there.
_MOVED = {
    "README.md": "index.md",
    "docs/index.md": "reference.md",
    "ARCHITECTURE.md": "design/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "docs/real_account.md": "project/real_account.md",
}
#: Sections of the navigation, with the pages in them; a pattern leaves out what is named before it.
_NAVIGATION = {
    "Start": ["tutorial", "guide", "examples"],
    "How to": ["howto/*"],
    "Airflow features": ["ui", "links", "assets", "lineage"],
    "Operate": ["troubleshooting", "iam_policies", "deployment/*", "cloudwatch", "upgrade"],
    "Reference": ["reference", "settings", "operators/*", "sensors"],
    "Python API": ["api/*"],
    "Emulator": ["emulator", "emulator_image", "assumptions"],
    "Design": ["design/architecture", "design/*"],
    "Project": ["project/*"],
}
#: Pages directly in ``docs/`` that no section names.
_REST = "Operate"
#: Languages of source files that pages link to, by suffix; each such file becomes a page.
_SOURCES = {".py": "python", ".yaml": "yaml"}
_LINK = re.compile(r"\]\(([^()\s#]+)(#[^()\s]*)?\)")


def collect_pages() -> dict[str, str]:
    """Return all pages of the site: their texts by path."""
    texts = [ROOT / name for name in _MOVED if (ROOT / name).is_file()]
    texts += [path for path in sorted((ROOT / "docs").rglob("*.md")) if path not in texts]
    linked: set[Path] = set()
    pages = {_place(path): _redirect_links(path, linked) for path in texts}
    pages |= {_place(path): _format_source(path) for path in linked}
    pages |= {f"api/{name}.md": _format_api(name) for name in list_public_modules()}
    pages["index.md"] += _format_navigation(set(pages))
    return pages


def list_public_modules() -> list[str]:
    """Return the public modules: those of the package that do not begin with an underscore, and that run in Airflow."""
    package = airflow_cleanroomsml
    names = [found.name for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    return [name for name in names if not name.rpartition(".")[2].startswith("_")]


def _place(path: Path) -> str:
    """Return where a file of the repository stands in the site."""
    name = path.relative_to(ROOT).as_posix()
    if path.suffix in _SOURCES:
        return f"source/{name}.md"
    return _MOVED.get(name) or name.removeprefix("docs/")


def _redirect_links(page: Path, linked: set[Path]) -> str:
    """
    Return the text of a page with the links of its place in the site.

    :param page: File of the page.
    :param linked: Receives the source files that the page links to.
    """
    here = Path(_place(page)).parent

    def redirect(match: re.Match[str]) -> str:
        target = (page.parent / match[1]).resolve()
        if not target.is_file() or not target.is_relative_to(ROOT):
            return match[0]
        if target.suffix in _SOURCES:
            linked.add(target)
        return f"]({os.path.relpath(_place(target), here)}{match[2] or ''})"

    return _LINK.sub(redirect, page.read_text(encoding="utf-8"))


def _format_source(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    source = path.read_text(encoding="utf-8")
    return f"---\norphan: true\n---\n\n# {path.name}\n\n`{name}`\n\n````{_SOURCES[path.suffix]}\n{source}````\n"


def _format_api(module: str) -> str:
    """Return the page of a module; tasks are made, not called, so operators and sensors have no members there."""
    classes = importlib.import_module(module).__all__ if module.endswith((".operators", ".sensors")) else ()
    members = "" if classes else "   :members:\n   :show-inheritance:\n"
    entries = "".join(f"\n.. autoclass:: {module}.{name}\n" for name in classes)
    return f"# {module.partition('.')[2]}\n\n`{module}`\n\n```{{eval-rst}}\n.. automodule:: {module}\n{members}{entries}```\n"


def _format_navigation(pages: set[str]) -> str:
    named = {entry for entries in _NAVIGATION.values() for entry in entries}
    sections = {title: [*entries, *(["*"] if title == _REST else [])] for title, entries in _NAVIGATION.items()}
    # The pattern of the rest would take what a later section names.
    rest = sorted(page[:-3] for page in pages if "/" not in page and page[:-3] not in named | {"index"})
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {title}\n\n"
        + "\n".join(line for entry in entries for line in (rest if entry == "*" else [entry]))
        + "\n```\n"
        for title, entries in sections.items()
    )


def write_pages(folder: Path) -> None:
    """
    Write the pages and their pictures to a folder; what has not changed keeps its time, so that Sphinx does not read it again.

    :param folder: Folder for the pages; other files in it are deleted.
    """
    files = {folder / name: text.encode() for name, text in collect_pages().items()}
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in {".svg", ".png"}]
    files |= {folder / path.relative_to(ROOT / "docs"): path.read_bytes() for path in pictures}
    for stale in [path for path in folder.rglob("*") if path.is_file() and path not in files]:
        stale.unlink()
    for path, content in files.items():
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def build(collected: Path = COLLECTED, site: Path = SITE, builder: str = "html") -> int:
    """
    Build the site; returns the exit status of Sphinx, which is not 0 if there is a warning.

    :param collected: Folder for the collected pages.
    :param site: Folder for the site.
    :param builder: Builder of Sphinx: ``html`` or ``linkcheck``.
    """
    write_pages(collected)
    # Every page has the navigation, so all are written, also those that have not changed.
    strict = ("--write-all", "--fail-on-warning", "--keep-going", "--quiet")
    options = ("--builder", builder, *strict, "--conf-dir", str(ROOT / "docs"))
    command = (
        sys.executable,
        "-m",
        "sphinx",
        *options,
        "--doctree-dir",
        f"{collected}-doctrees",
        str(collected),
        str(site),
    )
    return subprocess.run(command, check=False).returncode


def main() -> None:
    """Build the site, or check its external links: ``python -m tools.site linkcheck``."""
    if sys.argv[1:] == ["linkcheck"]:
        sys.exit(build(site=SITE.with_name("linkcheck"), builder="linkcheck"))
    status = build()
    if status == 0:
        sys.stdout.write(f"The site is in {SITE.relative_to(ROOT)}\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
