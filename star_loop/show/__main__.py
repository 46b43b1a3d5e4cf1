"""`python -m star_loop.show RUN`: what the model wrote, which of it was right, and why not.

    python -m star_loop.show outputs/mine --wrong --skill addition     of the last iteration
    python -m star_loop.show outputs/mine --iteration all --reason "no answer" --limit 0 | less
    python -m star_loop.show outputs/mine --split test --iteration 0 --json | jq -r .rollout.text

Standard output has the rollouts and nothing else; how many there are, and why those that are wrong are, is said on
standard error.
"""

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from star_loop.config.screen import conclude, outlive_screen
from star_loop.errors import a_path, natural
from star_loop.report.quantities import MISSING, visible
from star_loop.report.rollouts import Seen, Wanted, observations, rollouts
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError

_TRIES, _DECODINGS = ("first try", "second try"), ("greedy", "sampled")
_NAMED = 5
"""Reasons, or names, in a message."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rollouts that are asked for.

    Returns:
        0, also where there are none; 2 where the run cannot be read.
    """
    options = _options(arguments)
    wanted = Wanted(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Wanted)})
    try:
        _print(_all(options, wanted), wanted, options)
    except (RunError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _all(options: argparse.Namespace, wanted: Wanted) -> Iterator[Seen]:
    """Return every rollout of the iterations and the split."""
    run = RunDirectory(options.run)
    latest = run.latest()
    if latest is None:
        raise RunError(f"{options.run} has no committed iteration: give a run directory, such as outputs/<name>")
    split = options.split or ("train" if latest.number else "test")
    numbers = _numbers(options.iteration, latest.number)
    run.check_committed(numbers)
    known = observations(run, [("split", "=", split)])
    if wanted.skill is not None:
        _refuse_unknown_skill(wanted.skill, {row["skill"] for row in known.values()} - {None})
    return (seen for number in numbers for seen in rollouts(run.iteration(number), split, known))


def _numbers(asked: str, latest: int) -> Sequence[int]:
    if asked in ("last", "all"):
        return [latest] if asked == "last" else range(latest + 1)
    if not asked.isdecimal() or int(asked) > latest:
        raise ValueError(f"--iteration {asked}: the run has 0 to {latest}; `all` and `last` are names too")
    return [int(asked)]


def _refuse_unknown_skill(skill: str, known: set[str]) -> None:
    if skill not in known:
        close = get_close_matches(skill, known, n=1)
        there = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known)) or 'none'}"
        raise ValueError(f"--skill {skill}: no question has this skill: {there}")


def _print(every: Iterable[Seen], wanted: Wanted, options: argparse.Namespace) -> None:
    """Write those that fit, up to the limit, and say how many there are."""
    total, fitting, wrong = 0, 0, Counter[str]()
    for seen in every:
        total += 1
        if wanted.fits(seen):
            fitting += 1
            wrong[seen.rollout.how] += not seen.rollout.correct
            if not options.limit or fitting <= options.limit:
                sys.stdout.write(_as_json(seen) if options.json else "\n".join(lines(seen)) + "\n")
    sys.stdout.flush()
    shown = min(fitting, options.limit or fitting)
    more = " (--limit 0 shows all)" if shown < fitting else ""
    reasons = ", ".join(f"{how} {n:,}" for how, n in wrong.most_common(_NAMED) if n)
    said = [f"{shown:,} shown of {fitting:,} that fit, of {total:,} rollouts{more}"]
    sys.stderr.write("\n".join([*said, *([f"wrong: {visible(reasons)}"] if reasons else [])]) + "\n")


def lines(seen: Seen) -> Iterator[str]:
    """Write a rollout for people: a line that says what it is, then the texts, whose control characters are shown."""
    r = seen.rollout
    tries = _TRIES if seen.split == "train" else _DECODINGS
    attempt = tries[r.attempt] if r.attempt < len(tries) else f"round {r.attempt}"
    facts = [
        f"iteration {seen.iteration}", r.id, *([seen.skill] if seen.skill else []),
        *([f"level {seen.level}"] if seen.level is not None else []), f"{attempt}, sample {r.sample}",
        f"{r.tokens:,} tokens", *(["hinted"] if r.hinted else []), *(["cut off"] if r.finish == "length" else []),
    ]  # fmt: skip
    verdict = "right" if r.correct else "wrong"
    yield _line(f"── {verdict}: {r.how} · {' · '.join(facts)}")
    expected = "" if r.correct else f"   expected {seen.answer or MISSING}"
    for name, text in (
        ("question", seen.question),
        ("rationale", r.text),
        ("answer", f"{r.answer or MISSING}{expected}"),
    ):
        first, *rest = (visible(text, longest=None) or MISSING).splitlines() or [""]
        yield f"   {name:<10} {first}"
        yield from (f"   {'':<10} {line}" for line in rest)


def _line(text: str) -> str:
    return " ".join(visible(text, longest=None).splitlines())


def _as_json(seen: Seen) -> str:
    return json.dumps(dataclasses.asdict(seen), ensure_ascii=True) + "\n"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m star_loop.show",
        description="What the model wrote in a run, which of it was right, and why not.",
    )
    parser.add_argument("run", type=a_path, help="a run directory")
    verdict = parser.add_mutually_exclusive_group()
    verdict.add_argument("--right", dest="correct", action="store_true", default=None, help="only right ones")
    verdict.add_argument("--wrong", dest="correct", action="store_false", default=None, help="only wrong ones")
    for name, what in (("unread", "in which no answer was found"), ("cut-off", "that were cut off"),
                       ("hinted", "that saw the answer")):  # fmt: skip
        parser.add_argument(f"--{name}", action="store_true", default=None, help=f"only those {what}")
    parser.add_argument("--reason", help="a part of what the verifier said: 'no answer'")
    parser.add_argument("--text", help="a part of the question, the rationale or the answer")
    parser.add_argument("--skill", help="what kind of question it is")
    parser.add_argument("--level", type=int, help="how hard the question is")
    parser.add_argument("--attempt", type=natural, help="0: first tries, 1: second; of a test split 1: sampled answers")
    parser.add_argument("--id", help="one question, as rollouts name it: train/0000012, train/00012, …")
    parser.add_argument("--shortest", type=natural, metavar="TOKENS", help="at least so long")
    parser.add_argument("--longest", type=natural, metavar="TOKENS", help="at most so long")
    parser.add_argument("--iteration", default="last", help="its number, `all`, or `last` (the default)")
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), help="default: train, what was collected; of the base, test"
    )
    parser.add_argument("--limit", type=natural, default=20, help="how many are shown (default: 20; 0: all)")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    outlive_screen()
    conclude(main)
