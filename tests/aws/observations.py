"""Undocumented behaviour of the service: what the emulator assumes, compared with what was observed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tests.aws.account import Account

ACCEPTED = "accepted"


@dataclass(frozen=True)
class Outcome:
    """
    The response to a request.

    :param word: ``accepted``, or the code of the error.
    :param message: The error's message.
    :param response: The response.
    """

    word: str
    message: str = ""
    response: Any = None


def send_request(send: Callable[[], Any]) -> Outcome:
    """Send a request, and return errors as outcomes too."""
    try:
        return Outcome(ACCEPTED, response=send())
    except ClientError as error:
        return Outcome(error.response["Error"]["Code"], error.response["Error"].get("Message", ""))


@dataclass(frozen=True)
class Observation:
    """
    One fact.

    :param fact: What was tried.
    :param assumption: What the emulator does.
    :param seen: What the account did.
    :param message: The error's message.
    """

    fact: str
    assumption: str
    seen: str
    message: str = ""

    def format_lines(self, title: str) -> list[str]:
        """Format the lines of the report, without account numbers because users may publish it."""
        if self.seen == self.assumption:
            return [f"as assumed: {self.fact}: {self.assumption}"]
        message = re.sub(r"(?<!\d)\d{12}(?!\d)", "<account>", f" ({self.message})" if self.message else "")
        return [
            self.fact,
            f"  what the emulator assumes: {self.assumption}",
            f"  what {title} did: {self.seen}{message}",
        ]


@dataclass
class Observer:
    """
    Records what a real account does, and checks that the emulator does what the test says it assumes.

    :param account: The account that responds.
    :param noted: All observations of the run.
    """

    account: Account
    noted: list[Observation]

    def __call__(self, fact: str, assumption: str, seen: Outcome) -> None:
        if self.account.real:
            self.noted.append(Observation(fact, assumption, seen.word, seen.message))
        else:
            assert seen.word == assumption, seen
