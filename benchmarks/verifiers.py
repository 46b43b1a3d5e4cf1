"""How often the verifiers agree with a careful person, beside two controls, and how fast they are.

    python -m benchmarks.verifiers           # precision and recall on the judged texts, in a minute
    python -m benchmarks.verifiers --speed   # verdicts a second on one core

The texts are `tests/verifiers/judged_texts.txt`. The controls are Math-Verify as it is, on the whole text, and the rule
of the last number in it.
"""

import argparse
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.math_pairs import pairs
from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
from star_loop.verifiers.algebra import compare
from star_loop.verifiers.exact import Exact
from star_loop.verifiers.expression import Expression
from star_loop.verifiers.guess import Guess
from star_loop.verifiers.gym import Gym
from star_loop.verifiers.label import Label, YesNo
from star_loop.verifiers.languages import LANGUAGES
from star_loop.verifiers.math import Math
from star_loop.verifiers.math_process import parse_in_two_stages
from star_loop.verifiers.multiple_choice import MultipleChoice
from star_loop.verifiers.scratchpad import Scratchpad

TEXTS = Path(__file__).parent.parent / "tests" / "verifiers" / "judged_texts.txt"
EVERY = tuple(LANGUAGES)
LABELS = {"neutral": ("1",), "entailment": ("0",), "contradiction": ("2",)}
MOODS = {"positive": ("good",), "negative": ("bad",)}
VERIFIERS: dict[str, Verifier] = {
    "exact": Exact(),
    "exact+units": Exact(units=True),
    "math": Math(),
    "math+all": Math(phrases=EVERY),
    "multiple_choice": MultipleChoice(),
    "multiple_choice+all": MultipleChoice(phrases=EVERY),
    "yes_no": YesNo(),
    "expression": Expression(),
    "gym": Gym(),
    "scratchpad": Scratchpad(),
    "guess": Guess(),
}
_NUMBER = re.compile(r"-?[0-9][0-9,]*(?:\.[0-9]+)?")
_BODY = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nAltogether she sold 48+24 = <<48+24=72>>72 clips in April and "
    "May.\nSo we add the numbers, which gives the total that was asked for in the question.\n"
) * 2
"""A rationale of some 400 characters."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A text, and what a careful person says of it."""

    kind: str
    name: str
    """Of the verifier."""
    observation: Observation
    text: str
    right: bool

    @property
    def verifier(self) -> Verifier:
        """The verifier that is asked; of labels, the one that knows the gold one."""
        return VERIFIERS.get(self.name) or Label(labels=LABELS if self.observation.answer in LABELS else MOODS)


def judged_texts(path: Path = TEXTS) -> Iterator[Judged]:
    """The texts of the file, in its order."""
    kind, name, observation = "", "", Observation(id="", question="", answer="")
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.startswith("= "):
            kind, name, gold, more = _head(line)
            observation = _observation(number, gold, more)
        elif line[:2] in ("+ ", "- "):
            yield Judged(kind, name, observation, line[2:].replace("⏎", "\n"), line[0] == "+")


def _head(line: str) -> tuple[str, str, str, str]:
    kind, name, rest = line[2:].split(" | ", 2)
    gold, _, more = rest.rpartition(" |")
    return kind, name, gold, more.strip()


def _observation(number: int, gold: str, more: str) -> Observation:
    key, _, value = more.partition(": ")
    return Observation(
        id=str(number),
        question=value if key == "question" else "?",
        answer=gold,
        choices=tuple(value.split(" / ")) if key == "options" else (),
        meta={"numbers": json.loads(value)} if key == "numbers" else {},
    )


def ours(each: Judged) -> bool:
    """What the verifier says."""
    return each.verifier.judge(each.observation, each.text).correct


def last_number(each: Judged) -> bool:
    """Whether the last number of the text is the gold answer's last."""
    found, gold = (_NUMBER.findall(text.replace(",", "")) for text in (each.text, each.observation.answer))
    return bool(found and gold) and float(found[-1]) == float(gold[-1])


def plain_math_verify(each: Judged) -> bool:
    """What Math-Verify says of the whole text; it is told the letters where there are options."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig, parse, verify

    strings = [StringExtractionConfig(strings=("A", "B", "C", "D"))] if each.observation.choices else []
    config = [LatexExtractionConfig(), ExprExtractionConfig(), *strings]
    gold = each.observation.answer if strings else f"${each.observation.answer}$"
    return bool(verify(parse(gold, extraction_config=config), parse(each.text, extraction_config=config)))


JUDGES: dict[str, Callable[[Judged], bool]] = {
    "star_loop": ours, "Math-Verify": plain_math_verify, "last number": last_number,
}  # fmt: skip


def shares(texts: Sequence[Judged], said: Sequence[bool]) -> tuple[float, float]:
    """(precision, recall): of those called right, how many are; of the right ones, how many are called so."""
    hits = sum(s and each.right for each, s in zip(texts, said, strict=True))
    return hits / max(1, sum(said)), hits / max(1, sum(each.right for each in texts))


def table(texts: Sequence[Judged]) -> str:
    """Precision and recall by verifier, as Markdown."""
    said = {name: [judge(each) for each in texts] for name, judge in JUDGES.items()}
    heads = " | ".join(f"{name}: precision | recall" for name in JUDGES)
    lines = [f"| verifier | texts | right | {heads} |", "|" + "---|" * (3 + 2 * len(JUDGES))]
    groups = {
        name: [k for k, each in enumerate(texts) if each.name.partition("+")[0] == name] for name in _names(texts)
    }
    for name, rows in [*groups.items(), ("all", list(range(len(texts))))]:
        chosen = [texts[k] for k in rows]
        cells = [f"{x:.3f}" for verdicts in said.values() for x in shares(chosen, [verdicts[k] for k in rows])]
        lines.append(f"| {name} | {len(rows)} | {sum(each.right for each in chosen)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _names(texts: Sequence[Judged]) -> list[str]:
    return list(dict.fromkeys(each.name.partition("+")[0] for each in texts))


def wrong(texts: Sequence[Judged]) -> Iterator[str]:
    """Every text of which the verifier says something else than a careful person."""
    for each in texts:
        verdict = each.verifier.judge(each.observation, each.text)
        if verdict.correct != each.right:
            head = f"{each.kind} {each.name} gold {each.observation.answer!r}"
            yield f"{head}: {each.text!r} is {'right' if each.right else 'wrong'}; {verdict.answer!r}, {verdict.how}"


def speed() -> Iterator[str]:
    """Verdicts in a second of one core's time, a rationale of 400 characters before each text."""
    texts = list(judged_texts())
    for name in _names(texts):
        chosen = [each for each in texts if each.name == name and name != "math"]
        asked = [(each.verifier, each.observation, _BODY + each.text) for each in chosen] * (
            4000 // max(1, len(chosen))
        )
        started = time.process_time()
        for verifier, observation, text in asked:
            verifier.judge(observation, text)
        if asked:
            yield f"{name}: {len(asked) / (time.process_time() - started):,.0f}"
    yield f"Math-Verify, comparisons that are new: {_comparisons(300, 1):,.0f}"
    verdicts, asked_of = _new_pairs(2000)
    yield f"math, pairs that are new: {verdicts:,.0f}, Math-Verify is asked about {asked_of:.1%}"


def _new_pairs(count: int) -> tuple[float, float]:
    """Verdicts a second on gold answers and texts of which none is repeated, and the share that needs Math-Verify."""
    parse_in_two_stages()
    compare("x^2-1", ["x^2-2"])
    verifier, asked = (
        Math(),
        [(Observation(id="m", question="?", answer=gold), _BODY + text) for gold, text in pairs(count)],
    )
    started, questions = time.process_time(), 0
    for observation, text in asked:
        read = verifier._read(observation, text)
        if not isinstance(read, Verdict):
            questions += 1
            compare(read.question[0], read.question[1])
    return count / (time.process_time() - started), questions / count


def _comparisons(golds: int, answers: int) -> float:
    """Comparisons a second that cannot be told at sight: each gold with so many answers, half of which are equal."""
    parse_in_two_stages()
    first = 1000 * answers  # no gold of another call
    started = time.process_time()
    for k in range(first, first + golds):
        for n in range(answers):
            compare(rf"{k}x^2-{k + 3}", [rf"-{k + 3 + (k + n) % 2 * n}+{k}x^2"])
    return golds * answers / (time.process_time() - started)


def main() -> None:
    """Print the table and what is judged otherwise, or the speed."""
    logging.disable()  # Math-Verify logs what it cannot read
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verifiers", description=__doc__)
    parser.add_argument("--speed", action="store_true", help="verdicts a second instead")
    if parser.parse_args().speed:
        print("\n".join(speed()))
        return
    texts = list(judged_texts())
    print(table(texts), *wrong(texts), sep="\n")


if __name__ == "__main__":
    main()
