"""The points at which a worker can be killed."""

from __future__ import annotations

from dataclasses import dataclass

#: What a try does besides computing: it can be killed between any two of these.
POINTS = ("before a call", "after a call", "in a pause", "before a state write", "after a state write")


class Killed(BaseException):
    """The worker was killed. Not an ``Exception``, so that no code under test catches it."""


@dataclass
class Kill:
    """
    A kill at a certain point of a try.

    :param point: One of :data:`POINTS`.
    :param visits: Number of the visit to that point at which the worker is killed, from 1.
    """

    point: str
    visits: int

    def visit(self, point: str) -> None:
        """
        Register that the worker has reached a point.

        :raises Killed: The worker is killed at this visit.
        """
        if point == self.point:
            self.visits -= 1
            if self.visits == 0:
                raise Killed(point)
