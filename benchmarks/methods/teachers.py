"""Several teachers for one student: rationales of the same questions that all end with the right answer.

They stand for a pool of rationales by different models (LARK's setting), in ways that a student of column arithmetic
can tell apart. The `competent` write every step rightly, in styles of their own: the student's, operands swapped, each
row twice, the question first, the answer first. Of the `careless` only the first and the last do; the others leave the
steps out, write them in an order that nobody can compute in, or get carries wrong. `strong` is one teacher, sampled
five times: every step is right and in the student's own notation, but for the order of two operands here and there.

The `told` tell the steps of a word problem to a student that reads words: whole, with the question before them, last
step first, with wrong results on the way, or not at all.
"""

import json
import os
import re
from pathlib import Path

import numpy as np

from star_loop.protocols import Task
from star_loop.records import Observation
from star_loop.seeding import rng
from star_loop.verifiers.columns import ANSWER

CARELESS = 1 / 3
"""Share of the rows in which the careless teacher writes other carries."""
SWAPPED = 1 / 4
"""Share of the rows in which the strong teacher has the operands the other way round."""


def write(path: Path, task: Task, pool: str, seed: int) -> None:
    """A pool file for the training observations of a task; what is there is kept."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"id": o.id, "source": s, "text": t} for o in task.train() for s, t in rationales(o, pool, seed).items())
    whole = path.with_name(f".{path.name}.{os.getpid()}")  # two workers may write the same one
    whole.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    whole.replace(path)


def rationales(observation: Observation, pool: str, seed: int) -> dict[str, str]:
    """By teacher; each of them is accepted by the task's verifier."""
    return _told(observation, seed) if pool == "told" else _columns(observation, pool, seed)


def _columns(observation: Observation, pool: str, seed: int) -> dict[str, str]:
    assert observation.rationale is not None
    steps, _, answer = observation.rationale.rpartition(ANSWER)
    rows = steps.split(";")[:-1]
    luck, sampled = rng(seed, "careless", observation.id), rng(seed, "strong", observation.id)
    written = {
        "competent": {
            "whole": rows,
            "swapped": [_swapped(row) for row in rows],
            "repeated": [row for row in rows for _ in range(2)],
            "question first": [observation.question, *rows],
            "answer first": [answer, *rows],
        },
        "careless": {
            "whole": rows,
            "answer only": [],
            "backwards": rows[::-1],
            "wrong carries": [_careless(row, luck) for row in rows],
            "repeated": [row for row in rows for _ in range(2)],
        },
        "strong": {
            f"draw {k}": [_swapped(row) if sampled.random() < SWAPPED else row for row in rows] for k in range(5)
        },
    }[pool]
    return {name: "".join(f"{row};" for row in lines) + ANSWER + answer for name, lines in written.items()}


def _told(observation: Observation, seed: int) -> dict[str, str]:
    assert observation.rationale is not None
    steps, _, answer = observation.rationale.partition("\n")
    equations = [f"{equation.rstrip('.')}." for equation in steps.split(". ")]
    luck = rng(seed, "told", observation.id)
    written = {
        "whole": steps,
        "question first": f"{observation.question} {steps}",
        "backwards": " ".join(equations[::-1]),
        "careless": " ".join(_off(equation, luck) for equation in equations),
        "answer only": "",
    }
    return {name: f"{told}\n{answer}" for name, told in written.items()}


def _swapped(row: str) -> str:
    return f"{row[0]}{row[2]}{row[1]}{row[3:]}"


def _careless(row: str, luck: np.random.Generator) -> str:
    if luck.random() > CARELESS:
        return row
    return re.sub(r"(?<=[-:*])[0-9]", lambda carry: str((int(carry[0]) + int(luck.integers(1, 10))) % 10), row)


def _off(equation: str, luck: np.random.Generator) -> str:
    """Write another result into it."""
    operation, _, result = equation.rstrip(".").partition(" = ")
    return f"{operation} = {int(result) + int(luck.integers(1, 10))}."
