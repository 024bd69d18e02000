"""Responses with status 200 that are not, or not completely, from the service."""

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
