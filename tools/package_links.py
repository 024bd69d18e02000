"""
Fills in the links of the package when it is built: hatchling calls it, with its table in ``pyproject.toml``.

A package index shows the README and the project URLs, but not the repository, so relative links lead nowhere there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = re.compile(r"(!?)\[([^\[\]]+)\]\((?![a-z]+:)([^()\s]+)\)")


class PackageLinks(MetadataHookInterface):
    """Sets ``readme`` and ``urls``."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Set both fields; an empty setting leaves its links out."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        base = str(self.config["readme-base"])
        metadata["readme"] = {"content-type": "text/markdown", "text": replace_relative_links(text, base)}
        metadata["urls"] = {label: url for label, url in self.config["urls"].items() if url}


def replace_relative_links(text: str, base: str) -> str:
    """
    Return a text in Markdown whose links work anywhere.

    :param text: The text.
    :param base: URL that relative links begin with, with a slash at its end; if it is empty, only the text of such a link stays, and
        nothing of a picture.
    """
    # Links within the page work there, too.
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    blocks[::2] = [_RELATIVE.sub(lambda link: _replace_link(link, base), block) for block in blocks[::2]]
    return "".join(blocks)


def _replace_link(link: re.Match[str], base: str) -> str:
    mark, text, target = link.groups()
    if target.startswith("#"):
        return link[0]
    if base:
        return f"{mark}[{text}]({base}{target})"
    return "" if mark else text
