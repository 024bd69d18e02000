"""What a service does where its documents say nothing: what the emulator assumes beside what was seen."""

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
    How a request was answered.

    :param word: ``accepted``, or the code of the error.
    :param said: The error's message.
    :param answer: The answer.
    """

    word: str
    said: str = ""
    answer: Any = None


def outcome(send: Callable[[], Any]) -> Outcome:
    """Send, and take an error for an answer."""
    try:
        return Outcome(ACCEPTED, answer=send())
    except ClientError as error:
        return Outcome(error.response["Error"]["Code"], error.response["Error"].get("Message", ""))


@dataclass(frozen=True)
class Observation:
    """
    One fact.

    :param fact: What was tried.
    :param assumption: What the emulator does.
    :param seen: What the account did.
    :param said: What it said to it.
    """

    fact: str
    assumption: str
    seen: str
    said: str = ""

    def lines(self, title: str) -> list[str]:
        """For a report, which may become public: without account numbers."""
        if self.seen == self.assumption:
            return [f"as assumed: {self.fact}: {self.assumption}"]
        said = re.sub(r"(?<!\d)\d{12}(?!\d)", "<account>", f" ({self.said})" if self.said else "")
        return [self.fact, f"  what the emulator assumes: {self.assumption}", f"  what {title} did: {self.seen}{said}"]


@dataclass
class Observer:
    """
    Takes note of what a real account does, and holds the emulator to what it is said to assume.

    :param account: Whose answers these are.
    :param noted: All observations of the run.
    """

    account: Account
    noted: list[Observation]

    def __call__(self, fact: str, assumption: str, seen: Outcome) -> None:
        if self.account.real:
            self.noted.append(Observation(fact, assumption, seen.word, seen.said))
        else:
            assert seen.word == assumption, seen
