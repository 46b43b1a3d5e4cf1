"""Where the rollouts of a pass come from: wave after wave, or where completions do not depend on each other, a stream.

The stream keeps the engine's queue full across waves: what failed is tried again while others are under way, and
nobody waits for a wave's longest text. What is consumed, and so all that is written, does not depend on it: neither on
the engines' speed nor on what was asked in vain.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Protocol

from star_loop.generators.stream import Arriving, arriving
from star_loop.generators.stream import Drawn as Came
from star_loop.models import Model
from star_loop.records import Request, Rollout, Try
from star_loop.stages.judge import Drawn, judge_all
from star_loop.stages.live import LiveRun
from star_loop.stages.rollouts import draw, labelled, request, serve
from star_loop.stages.waves import Ask, Wave, Waves

SLACK = 0.02
"""Part of the quota that is asked for beyond it, so that engines are not idle while the last texts are written."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass over the observations: by which model, with what, and for how much."""

    live: LiveRun
    iteration: int
    model: Model
    temperature: float | None
    quota: int | None
    """Correct rationales wanted; None: of all observations."""

    def request(self, position: int, attempt: int, draws: int) -> Request:
        """Ask for draws of an observation, with the answer shown where this is a second try that wants it."""
        return request(
            self.live, self.iteration, position, attempt, draws, temperature=self.temperature, hint=self.hinted(attempt)
        )

    def hinted(self, attempt: int) -> bool:
        """Tell whether the prompt shows the answer."""
        return attempt == Try.SECOND and self.live.experiment.second_try == "rationalize"


class Source(Protocol):
    """Draws the waves of a pass, in order."""

    def finish(self, wave: Wave, visited: int, accepted: int) -> list[Rollout]:
        """Return the rollouts of the next wave, in whose place so many were `visited` and `accepted` before it."""


@contextmanager
def drawing(one_pass: Pass, waves: Waves) -> Iterator[Source]:
    """Draw what `waves` propose, with as little waiting as the generator's promise allows."""
    if not one_pass.live.experiment.generator.independent:
        yield WaveByWave(one_pass)
        return
    with closing(Stream(one_pass, waves)) as stream:
        yield stream


class WaveByWave:
    """Every round of a wave is one call, seeded by itself, whatever was generated before."""

    def __init__(self, one_pass: Pass) -> None:
        self._pass = one_pass

    def finish(self, wave: Wave, visited: int, accepted: int) -> list[Rollout]:
        """See `Source`."""
        live, iteration = self._pass.live, self._pass.iteration
        with live.run.timed(iteration, "collect") as journal:
            serve(live, self._pass.model, f"iteration {iteration}, wave {wave.number}")
            asks = wave.begin()
            while asks:
                attempt, drawn = asks[0][1], defaultdict[int, list[Rollout]](list)
                draws = {position: n for position, _, n in asks}
                for rollout in draw(
                    live, iteration, wave.number, attempt, draws, journal,
                    temperature=self._pass.temperature, hint=self._pass.hinted(attempt), before=wave.rollouts(),
                ):  # fmt: skip
                    drawn[rollout.position].append(rollout)
                asks = [ask for position in draws for ask in wave.take(position, attempt, drawn[position])]
        live.session.advance(wave.accepted if self._pass.quota else wave.settled)
        return wave.rollouts()


class Stream:
    """Keeps as much under way as the quota may still need, judges what comes, and hands out finished waves in order.

    What is under way is what, at the yield so far, fills the quota; while nothing is known, each observation is taken
    to bring all that may count, so that little is asked in vain.
    """

    def __init__(self, one_pass: Pass, waves: Waves) -> None:
        self._pass, self._live, self._waves = one_pass, one_pass.live, waves
        self._arriving: Arriving | None = None
        self._wave: Wave | None = None
        """The wave whose observations are being begun."""
        self._again: deque[tuple[Wave, Ask]] = deque()
        """What follows from what came, or was begun, and is not asked yet."""
        self._asked: dict[int, Asked] = {}
        self._numbers = count()
        self._drawn = self._used = 0
        """Rollouts asked for, and handed out."""
        self._notes: dict[str, float] = defaultdict(float)

    def finish(self, wave: Wave, visited: int, accepted: int) -> list[Rollout]:
        """See `Source`; of the wave that fills the quota, only the observations up to there."""
        with self._live.run.timed(self._pass.iteration, "collect") as journal:
            if self._wave is None:
                serve(self._live, self._pass.model, f"iteration {self._pass.iteration}, collecting")
                self._wave, yields = wave, self._waves.yields
                yields.begun, yields.tried, yields.first = visited, visited, accepted  # by earlier launches
            left = None if self._pass.quota is None else self._pass.quota - accepted
            while not (filled := wave.fills(left)) and wave.front < len(wave.order):
                self._wait()
            rollouts = wave.rollouts(wave.front)
            self._used += len(rollouts)
            if filled:
                self.close()
                self._notes["surplus"] += self._drawn - self._used
            journal.update(self._notes)
            self._notes.clear()
        return rollouts

    def close(self) -> None:
        """Abort what is in flight."""
        if self._arriving is not None:
            self._arriving.close()

    def _wait(self) -> None:
        """Take what comes next; the stream ends, and begins again, where the sampler wants to see a wave first."""
        if self._arriving is None:
            self._arriving = arriving(self._live.engine, self._more)
        came = next(self._arriving, None)
        if came is None:
            self._arriving = None
            return
        for number, completions in came.items():
            self._live.run.arrivals.add(self._asked[number].request, completions)
            self._notes["cached_tokens"] += completions[0].cached_tokens if completions else 0
        if came:
            self._live.session.advance(0, sum(c.tokens for completions in came.values() for c in completions))
            self._judge(came)

    def _more(self, room: int) -> Mapping[int, Request]:
        """Return what the engine is to draw beside what it has in hand; what an earlier launch has had is taken now."""
        new: dict[int, Request] = {}
        while room > 0 and (following := self._following()) is not None:
            wave, (position, attempt, draws) = following
            wanted, number = self._pass.request(position, attempt, draws), next(self._numbers)
            self._asked[number], self._drawn = Asked(wave, position, attempt, wanted), self._drawn + draws
            if (known := self._live.run.arrivals.known(wanted)) is not None:
                self._judge({number: known})
            else:
                new[number], room = wanted, room - draws
        return new

    def _following(self) -> tuple[Wave, Ask] | None:
        while not self._again and self._wants_more() and (wave := self._unbegun()) is not None:
            self._note(wave, wave.begin)
        return self._again.popleft() if self._again else None

    def _unbegun(self) -> Wave | None:
        """Return the wave that is being begun; None: the pass is over, or the sampler waits."""
        while self._wave is not None and self._wave.begun == len(self._wave.order):
            following = self._waves.at(self._wave.number + 1)
            if following is None:
                return None
            self._wave = following
        return self._wave

    def _wants_more(self) -> bool:
        """Tell whether what was begun is not expected to fill the quota."""
        if self._pass.quota is None:
            return True
        expected = self._waves.yields.expected(self._live.experiment.schedule.per_observation)
        return expected < self._pass.quota + int(SLACK * self._pass.quota)

    def _judge(self, came: Came) -> None:
        drawn = [
            Drawn(asked.position, asked.attempt, sample, asked.request, completion)
            for number, completions in came.items() if (asked := self._asked[number])
            for sample, completion in enumerate(completions)
        ]  # fmt: skip
        before = [r for number in came for r in self._asked[number].wave.of(self._asked[number].position)]
        rated = labelled(self._live, judge_all(self._live.experiment.task, drawn, reject_truncated=True), before)
        judged = iter(rated)
        for number, completions in came.items():
            asked, rollouts = self._asked.pop(number), list(islice(judged, len(completions)))
            self._note(asked.wave, partial(asked.wave.take, asked.position, asked.attempt, rollouts))
        self._live.session.advance(0, 0, len(came))

    def _note(self, wave: Wave, act: Callable[[], list[Ask]]) -> None:
        """Act on the wave; queue what follows, and count and show what is settled by it."""
        settled, accepted = wave.settled, wave.accepted
        self._again.extend((wave, ask) for ask in act())
        self._live.session.advance(wave.accepted - accepted if self._pass.quota else wave.settled - settled)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the stream, and what it is for."""

    wave: Wave
    position: int
    attempt: int
    request: Request
