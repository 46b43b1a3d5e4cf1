"""Rationales from a file instead of a model: a teacher's, another run's, or the golds.

One JSON object per line: `id` (of the observation), `text` (the rationale), `source` (who wrote it; optional).
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from star_loop.accounting.cost import Cost
from star_loop.errors import counted
from star_loop.generators.scripted import cost_of
from star_loop.generators.told import placed
from star_loop.models import Model, Pretrained
from star_loop.protocols import Arrived, Engine, Generator, Progress, Task, themselves
from star_loop.records import Completion, Observation, Request
from star_loop.seeding import rng
from star_loop.tasks.cells import text
from star_loop.tasks.table import read

logger = logging.getLogger(__name__)


class Pool(Generator):
    """Draws from what the file holds for an observation; for an id that it does not hold, the empty text.

    Ids are those of the task: `train/0000092` of a file of one's own, `train/00092` of a benchmark's, or what `task.id`
    names. A later launch of a run wants the same rationales.

    Draws are without replacement until the observation's rationales are used up, then from the start again. A greedy
    request gets the first one. FLOPs are counted as if the base model had written. Without a `student` the served model
    writes nothing, so accuracies are the pool's.
    """

    path: Path | None = None
    """JSON Lines with `id`, `text` and `source`."""
    sources: tuple[str, ...] = ()
    """Only rationales of these sources; (): all."""
    student: Generator | None = None
    """Serves the model that learns: it answers what is asked greedily (evaluation), and what the file does not hold."""

    def check(self) -> None:
        """The file must be readable and hold at least one rationale of the wanted sources; then the student's checks.

        Raises:
            ValueError: it does not.
        """
        if not self._texts:
            wanted = f" from {', '.join(self.sources)}" if self.sources else ""
            raise ValueError(f"generator.path={self.path} holds no rationale{wanted}: check generator.sources")
        if self.student is not None:
            self.student.check()

    def fingerprint(self) -> str:
        """Return what changes with the rationales, of whatever sources, and with nothing else in the file.

        Raises:
            ValueError: it cannot be read.
        """
        return hashlib.sha256(json.dumps(self._texts, sort_keys=True).encode()).hexdigest()

    def prove(self, ids: Iterable[str]) -> None:
        """Count the training questions that the file has a rationale for, and tell where it has none for some.

        Raises:
            ValueError: it has one for none of them.
        """
        asked = list(ids)
        held = sum(id in self._texts for id in asked)
        if not held:
            there, questions = next(iter(self._texts)), counted(len(asked), "training question")
            raise ValueError(
                f"generator.path={self.path} has a rationale for none of {questions}: an id there is {there!r}, "
                f"an id here {asked[0]!r}: give each rationale its question's id"
            )
        if held < len(asked):
            others = "the empty text is taken" if self.student is None else "the student is asked"
            logger.warning(
                "generator.path=%s has a rationale for %s of %s: for the others %s",
                self.path, f"{held:,}", counted(len(asked), "training question"), others,
            )  # fmt: skip

    def writer(self, base: str) -> str:
        """Say that they are read, and who writes where there is nothing to read."""
        if self.student is None:
            return "read from a file, whose writers it names or nobody knows; not written by the model that learns"
        return f"read from a file; where it held none for a question, written by {themselves(base)}"

    def cost(self, base: Pretrained) -> Cost:
        """Return the cost of the base, if it has weights."""
        return cost_of(base)

    @property
    def independent(self) -> bool:
        """As the student is."""
        return self.student is None or self.student.independent

    @property
    def rank_beside(self) -> int | None:
        """Return the student's."""
        return None if self.student is None else self.student.rank_beside

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        """The student's engine, where there is one."""
        if self.student is None:
            yield PoolEngine(self._texts)
            return
        with self.student.engine(base, workspace=workspace, seed=seed) as student:
            yield PoolWithStudent(self._texts, student)

    @cached_property
    def _texts(self) -> Mapping[str, tuple[str, ...]]:
        if self.path is None:
            raise ValueError("a pool needs a file: give generator.path=… (JSON Lines: id, text, source)")
        table, found = read(self.path, "generator.path"), defaultdict(list)
        for index in range(len(table)):
            row, place = table[index], table.place(index)
            if not self.sources or row.get("source") in self.sources:
                found[text(row.get("id"), "id", place)].append(text(row.get("text"), "text", place))
        return {id: tuple(texts) for id, texts in found.items()}


class PoolEngine:
    """Every completion depends on its request alone. Tokens are words."""

    def __init__(self, texts: Mapping[str, tuple[str, ...]]) -> None:
        self.texts = texts

    def serve(self, model: Model) -> None:
        """Do nothing: the model writes nothing."""

    def generate(
        self, requests: Sequence[Request], *, seed: int,
        progress: Progress | None = None, arrived: Arrived | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """Return as many rationales as asked for."""
        completions = [self.draw(request) for request in requests]
        if progress:
            progress(len(requests))
        return completions

    def release(self) -> None:
        """Do nothing: there is nothing to release."""

    def draw(self, request: Request) -> list[Completion]:
        """Draw as many rationales of the pool as the request asks for."""
        texts = self.texts.get(request.observation.id, ("",))
        order = list(range(len(texts)))
        if request.sampling.temperature:
            order = rng(request.seed, "pool").permutation(len(texts)).tolist()
        drawn = [texts[order[sample % len(texts)]] for sample in range(request.n)]
        length = len(request.prompt.split())
        return [Completion(text=t, tokens=len(t.split()), prompt_tokens=length, finish="stop") for t in drawn]


class PoolWithStudent:
    """A pool whose rationales a student learns, beside the student's own engine, which serves its model."""

    def __init__(self, texts: Mapping[str, tuple[str, ...]], student: Engine) -> None:
        self.pool, self.student = PoolEngine(texts), student
        self.serve, self.release = student.serve, student.release

    def generate(
        self, requests: Sequence[Request], *, seed: int,
        progress: Progress | None = None, arrived: Arrived | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """Take from the pool, and the rest from the student; `arrived` is told only of that rest, which takes time."""
        own = [
            index
            for index, r in enumerate(requests)
            if r.sampling.temperature == 0 or r.observation.id not in self.pool.texts
        ]
        asked = [requests[index] for index in own]
        told = arrived and placed(arrived, own)
        answers = self.student.generate(asked, seed=seed, progress=progress, arrived=told) if asked else []
        written = dict(zip(own, answers, strict=True))
        if progress:
            progress(len(requests) - len(asked))
        return [written[k] if k in written else self.pool.draw(request) for k, request in enumerate(requests)]


def write_golds(task: Task, observations: Iterable[Observation], path: Path) -> None:
    """Write a pool of the golds: the gold rationale of each observation, or the bare statement of its answer."""
    rows = ({"id": o.id, "source": "gold", "text": task.gold_text(o)} for o in observations)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
