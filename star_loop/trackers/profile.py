"""Where the time of this process goes, function by function; what its engines and ranks do is waiting here."""

import cProfile
import io
import pstats
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics


class Profile(Tracker):
    """Writes `profile.txt` and `profile.prof` into the run directory, of each launch anew.

    The text lists the functions that took longest, with what they called; `python -m pstats` and SnakeViz read the
    other. Everything runs a little slower under it. The phases' own seconds are in the report, without it.
    """

    functions: int = Field(60, ge=1)
    """How many are listed."""

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        """Profile what happens while the session is open.

        Raises:
            ValueError: something else profiles this process already.
        """
        profile = cProfile.Profile()
        profile.enable()
        try:
            yield Session()
        finally:
            profile.disable()
            directory.mkdir(parents=True, exist_ok=True)
            profile.dump_stats(directory / "profile.prof")
            text = io.StringIO()
            pstats.Stats(profile, stream=text).sort_stats("cumulative").print_stats(self.functions)
            (directory / "profile.txt").write_text(text.getvalue(), encoding="utf-8")
