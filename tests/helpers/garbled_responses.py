"""What comes with status 200 from somebody else than the service, or from the service in part."""

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
