"""The list of assumptions, its page in the docs, and the settings agree."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from airflow_cleanroomsml.emulator.assumptions import ASSUMPTIONS, format_page
from airflow_cleanroomsml.emulator.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "assumptions.md"
SWITCHES = {switch for assumption in ASSUMPTIONS for switch in assumption.settings}


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == format_page(), "run make assumptions"


def test_every_switch_is_a_field_of_settings() -> None:
    assert SWITCHES - {field.name for field in fields(Settings)} == set()


def test_every_undocumented_default_is_a_listed_assumption() -> None:
    assumed = {field.name for field in fields(Settings) if not field.metadata.get("documented")}
    assert assumed - SWITCHES == set()


def test_no_topic_is_listed_twice() -> None:
    assert len({assumption.topic for assumption in ASSUMPTIONS}) == len(ASSUMPTIONS)
