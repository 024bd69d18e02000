"""
Generates interactions of users with known tastes, by which a ranking can be evaluated.

Each user has one of 24 latent *tastes*. The share of the taste with rank ``k`` is proportional to ``k ** -0.7``: of 100,000 users, 16,881
have the first, 1,824 the last, and 2,965 the twelfth. A taste has a *shelf* of 400 of the 20,000 items. Shelves overlap and also contain
popular items, so that no single interaction reveals a taste. An interaction is

- with probability 0.55 an item by overall popularity (Zipf, exponent 1),
- with probability 0.30 an item from the shelf of the user's taste (Zipf, exponent 0.8),
- with probability 0.15 any item (noise).

A user has two interactions and a log-normal share (sigma 1.2) of the rest: with ten interactions per user on average, one in eight has only
two, half have six or fewer, and one in a hundred has more than 66. Of the users with two interactions, 49 % have none from their shelf and
cannot be found. Type, value and time of an event do not depend on the taste.

With the twelfth taste and a seed of 1,000 users, the emulator's engine finds 76 % of the held-out users among the best 5,000 of 100,000
(random selection: 5 %), and 74 to 77 % with other random numbers; with a seed of 25 users it finds 65 %.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

TASTES = 24
ITEMS = 20_000
SHELF = 400
POPULAR, OWN = 0.55, 0.30
DAYS = 90
DAY_SECONDS = 86_400
#: 2026-11-01T00:00:00Z, the end of the 90 days, in Unix epoch seconds.
END = 1_793_491_200
EVENT_TYPES = {"view": 0.62, "click": 0.27, "add_to_cart": 0.07, "purchase": 0.04}

Integers = npt.NDArray[np.int64]
Strings = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Interactions:
    """
    Interactions in columns, ordered by time, and the tastes of the users.

    :param user_ids: Id of each user.
    :param item_ids: Id of each item.
    :param taste: Taste of each user; 0 is the most common.
    :param user: Position in ``user_ids``, for each interaction.
    :param item: Position in ``item_ids``, for each interaction.
    :param timestamp: Unix epoch seconds, for each interaction.
    :param event_type: Position in ``EVENT_TYPES``, for each interaction.
    :param event_value: An integer of at least 1, for each interaction.
    """

    user_ids: Strings
    item_ids: Strings
    taste: Integers
    user: Integers
    item: Integers
    timestamp: Integers
    event_type: Integers
    event_value: Integers

    def write_csv(self) -> bytes:
        """Return the table as CSV with a header, like the sample in the user guide."""
        columns = {
            "USER_ID": _decode(self.user, self.user_ids),
            "ITEM_ID": _decode(self.item, self.item_ids),
            "TIMESTAMP": pa.array(self.timestamp),
            "EVENT_TYPE": _decode(self.event_type, np.array(list(EVENT_TYPES))),
            "EVENT_VALUE": pa.array(self.event_value),
        }
        out = io.BytesIO(f"{','.join(columns)}\n".encode())
        out.seek(0, io.SEEK_END)
        # pyarrow would quote the names in the header, unlike the sample.
        options = csv.WriteOptions(include_header=False, quoting_style="none")
        csv.write_csv(pa.table(columns), out, options)
        return out.getvalue()

    def find_taste(self, users: int) -> int:
        """Return the taste whose number of users is closest to a number."""
        return int(np.abs(np.bincount(self.taste) - users).argmin())

    def draw_seed(self, taste: int, n: int) -> list[str]:
        """
        Draw a random sample of the users with a taste, always the same.

        :param taste: Taste, 0 to 23.
        :param n: Number of users, at most half of those with the taste.
        :raises ValueError: ``n`` is larger than half of them; the other half is :meth:`list_held_out`.
        """
        candidates, _ = self._split_users(taste)
        if n > len(candidates):
            raise ValueError(
                f"a seed drawn from the users with taste {taste} has at most {len(candidates):,} users, not {n:,}"
            )
        return candidates[:n]

    def list_held_out(self, taste: int) -> list[str]:
        """Return the half of the users with a taste that no seed contains."""
        return self._split_users(taste)[1]

    def _split_users(self, taste: int) -> tuple[list[str], list[str]]:
        # Seeded with the taste, so that seeds and held-out users stay disjoint from call to call.
        users = np.random.default_rng(taste).permutation(np.flatnonzero(self.taste == taste))
        ids = self.user_ids[users].tolist()
        return ids[: len(ids) // 2], ids[len(ids) // 2 :]


def generate(rows: int = 1_000_000, users: int = 100_000, *, seed: int = 20_240_404, end: int = END) -> Interactions:
    """
    Generate interactions.

    :param rows: Number of interactions, at least two per user.
    :param users: Number of users.
    :param seed: Seed of the random number generator.
    :param end: End of the 90 days, exclusive, in Unix epoch seconds.
    :raises ValueError: ``rows`` is less than twice ``users``.
    """
    if rows < 2 * users:
        raise ValueError(f"{users:,} users need at least {2 * users:,} interactions, not {rows:,}")
    rng = np.random.default_rng(seed)
    taste = rng.permutation(_assign_tastes(users))
    activity = rng.lognormal(0, 1.2, users)
    counts = 2 + rng.multinomial(rows - 2 * users, activity / activity.sum())
    user = np.repeat(np.arange(users), counts)
    item = _draw_items(rng, taste[user])
    timestamp = end - DAYS * DAY_SECONDS + _draw_seconds(rng, rows)
    order = np.argsort(timestamp, kind="stable")
    return Interactions(
        # Multiplying by an odd number modulo a power of two is a bijection, so the ids look random and are unique.
        user_ids=np.array([f"{n * 0x9E3779B97F4B % 2**48:012x}" for n in range(1, users + 1)]),
        item_ids=np.array([f"sku-{n * 7_919 % 1_000_000:06d}" for n in range(1, ITEMS + 1)]),
        taste=taste,
        user=user[order],
        item=item[order],
        timestamp=timestamp[order],
        event_type=rng.choice(len(EVENT_TYPES), rows, p=list(EVENT_TYPES.values())),
        event_value=np.ceil(rng.lognormal(2.5, 0.6, rows)).astype(np.int64),
    )


def _assign_tastes(users: int) -> Integers:
    share = np.arange(1, TASTES + 1) ** -0.7
    bounds = np.cumsum(share / share.sum()) * users
    return np.searchsorted(bounds, np.arange(users), side="right").clip(0, TASTES - 1)


def _draw_items(rng: np.random.Generator, taste: Integers) -> Integers:
    ranks = _draw_zipf(rng, ITEMS, 1.0, len(taste))
    item = rng.permutation(ITEMS)[ranks]
    kind = rng.random(len(taste))
    is_own = (kind >= POPULAR) & (kind < POPULAR + OWN)
    shelves = np.stack([rng.choice(ITEMS, SHELF, replace=False) for _ in range(TASTES)])
    item[is_own] = shelves[taste[is_own], _draw_zipf(rng, SHELF, 0.8, int(is_own.sum()))]
    is_noise = kind >= POPULAR + OWN
    item[is_noise] = rng.integers(0, ITEMS, int(is_noise.sum()))
    return item


def _draw_zipf(rng: np.random.Generator, n: int, exponent: float, size: int) -> Integers:
    bounds = np.cumsum(np.arange(1, n + 1) ** -exponent)
    # Rounding can put a draw at the upper bound, hence the clip below.
    rank: Integers = np.searchsorted(bounds, rng.random(size) * bounds[-1], side="right")
    return rank.clip(0, n - 1)


def _draw_seconds(rng: np.random.Generator, size: int) -> Integers:
    # Most events are in the evening.
    hour = rng.normal(19, 4, size) % 24
    day = rng.integers(0, DAYS, size)
    seconds = day * DAY_SECONDS + (hour * 3600).astype(np.int64)
    return seconds.clip(0, DAYS * DAY_SECONDS - 1)


def _decode(codes: Integers, values: Strings) -> pa.Array:
    return pa.array(values).take(pa.array(codes))
