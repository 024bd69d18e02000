"""Responses with status 200 that did not come from the service, or arrived only in part."""

from __future__ import annotations

BODIES = {
    "page": "<html><body>Log in to the network.</body></html>",
    "nothing": "",
    "object": "{}",
    "other object": '{"status": "ok"}',
    "null": "null",
    "text": '"ok"',
    "list": "[1, 2]",
    "broken off": '{"audienceMod',
}
