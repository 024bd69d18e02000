"""Where a worker is killed."""

from __future__ import annotations

from dataclasses import dataclass

#: What a try does besides computing: between any two of these it can be killed.
POINTS = ("before a call", "after a call", "in a pause", "before a note", "after a note")


class Killed(BaseException):
    """The worker is gone, whatever it was doing."""


@dataclass
class Fuse:
    """
    A kill that waits for its time.

    :param point: One of :data:`POINTS`.
    :param passages: At which passage of it, from 1.
    """

    point: str
    passages: int

    def burn(self, point: str) -> None:
        """
        Pass a point.

        :raises Killed: It is time.
        """
        if point == self.point:
            self.passages -= 1
            if self.passages == 0:
                raise Killed(point)
