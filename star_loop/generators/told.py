"""Who is told of what an engine has finished."""

from collections.abc import Sequence

from star_loop.protocols import Arrived, Progress
from star_loop.records import Completion


def placed(arrived: Arrived, places: Sequence[int]) -> Arrived:
    """Return who is told by the place in a part of the requests, and tells `arrived` by the place among all."""
    return lambda place, drawn: arrived(places[place], drawn)


def telling(arrived: Arrived | None, progress: Progress | None) -> Arrived:
    """Return who is told of what arrived, and tells both."""

    def told(place: int, drawn: list[Completion]) -> None:
        if arrived:
            arrived(place, drawn)
        if progress:
            progress(1)

    return told
