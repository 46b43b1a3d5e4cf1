"""`python -m star_loop.judge`: what was read in a text, by which stage, against which gold answer.

    python -m star_loop.judge outputs/mine                        the wrong rationales of a run's last iteration;
                                                                  of iteration 0, the base's answers to the test split
    python -m star_loop.judge task.verifier=math --gold 12 a.txt  a file against a gold answer
    python -m star_loop.judge task=gsm8k --id train/00012 < a.txt  standard input against a task's observation

A line for each stage: the reply that counts, the mark of the answer, what stands behind it, and how it was spelt for
the comparison; then the gold answer and the verdict. At the end, how often each verdict was given.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from star_loop.config.screen import conclude, outlive_screen
from star_loop.errors import ConfigError, counted, natural
from star_loop.judge.texts import Text, of_file, of_run, task_of
from star_loop.protocols import Verifier
from star_loop.records import Verdict
from star_loop.report.quantities import visible
from star_loop.run.disk import RunError

_WIDE = 300
"""Characters of a stage that are shown: the last ones, where answers stand."""
ONLY: Mapping[str, Callable[[Verdict], bool]] = {
    "wrong": lambda verdict: not verdict.correct,
    "unread": lambda verdict: verdict.answer is None,
    "right": lambda verdict: verdict.correct,
    "all": lambda verdict: True,
}
"""Which verdicts are shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge and print.

    Returns:
        0, or 2 where nothing could be judged.
    """
    options = _options(arguments)
    places = [word for word in options.what if "=" not in word or _exists(word)]  # a sweep's runs have a `=`
    overrides = [word for word in options.what if word not in places]
    given = {"answer": options.gold, "id": options.id, "question": options.question, "choices": options.choices}
    given["numbers"] = options.numbers
    try:
        if len(places) > 1:
            raise ValueError(f"one run or file at a time, not {', '.join(places)}")
        if "" in places:  # as a shell's variable that is not set; Python would take the current folder
            raise ValueError("the run or the file is empty: give its path")
        place = Path(places[0]) if places and places != ["-"] else None
        if place is not None and place.is_dir():
            typed = (f"--{'gold' if name == 'answer' else name}" for name, value in given.items() if value is not None)
            if useless := [*typed, *overrides]:
                raise ValueError(f"{useless[0]}: a run has its own task, questions and golds: leave it out")
            task, texts = of_run(place, options.iteration, options.wave)
            only = options.only or "wrong"
        else:
            task, only = task_of(overrides), options.only or "all"
            texts = of_file(task, place, given)
        task.verifier.check()
        for line in lines(task.verifier, texts, only, options.limit):
            sys.stdout.write(f"{visible(line, longest=None)}\n")
    except (ConfigError, RunError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def lines(verifier: Verifier, texts: Iterable[Text], only: str = "all", limit: int = 20) -> Iterator[str]:
    """Print the stages of the first `limit` texts whose verdict is wanted, then the counts over all."""
    counts: Counter[str] = Counter()

    def judged() -> Iterator[str]:
        for text in texts:
            verdict = verifier.judge(text.observation, text.text)
            counts[f"{'right' if verdict.correct else 'wrong'}: {verdict.how}"] += 1
            if ONLY[only](verdict):
                yield "\n".join(_trace(verifier, text, verdict))

    shown = judged()
    yield from islice(shown, limit)
    left = sum(1 for _ in shown)
    if left:
        yield f"… {left:,} more (--limit)"
    yield counted(counts.total(), "text") + "".join(f"\n  {n:>7,}  {how}" for how, n in counts.most_common())


def _trace(verifier: Verifier, text: Text, verdict: Verdict) -> Iterator[str]:
    used = verifier.choose(text.observation)
    noted = f" (the run noted: {text.said})" if text.said not in (None, verdict.how) else ""
    yield f"── {text.observation.id}: {'right' if verdict.correct else 'wrong'}, {verdict.how}{noted}"
    stages = {"question": text.observation.question, **(verdict.reading or {"text": text.text})}
    stages["answer"] = "(none)" if verdict.answer is None else verdict.answer
    stages["gold"] = f"{text.observation.answer}   ({type(used).__name__})"
    for name, left in stages.items():
        if left:
            yield f"   {name:<10} {_short(left)}"


def _short(text: str) -> str:
    shown = " ⏎ ".join(line.strip() for line in text.strip().splitlines())
    return shown if len(shown) <= _WIDE else f"… {shown[-_WIDE:]}"


def _exists(typed: str) -> bool:
    try:
        return Path(typed).exists()
    except OSError:  # longer than any path, as an override may be
        return False


def _numbers(typed: str) -> list[int]:
    try:
        return [int(number) for number in typed.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"whole numbers are wanted, as in 8,2,4, not {typed!r}") from error


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m star_loop.judge", description="What a verifier reads in a text.")
    parser.add_argument("what", nargs="*", help="a run, or a file of texts (default: standard input); and task=… keys")
    parser.add_argument("--gold", help="the right answer")
    parser.add_argument("--id", help="the task's observation that is answered, in place of --gold")
    parser.add_argument("--question", help="what was asked, for verifiers that look at it")
    parser.add_argument("--choices", help="its options: a|b|c|d")
    parser.add_argument("--numbers", type=_numbers, help="the numbers of a game: 8,2,4")
    parser.add_argument("--iteration", type=natural, help="of a run (default: the last, also one that is under way)")
    parser.add_argument("--wave", type=natural, help="of that iteration, from 0 (default: all)")
    parser.add_argument("--only", choices=ONLY, help="which verdicts are shown (default: wrong of a run, all else)")
    parser.add_argument("--limit", type=natural, default=20, help="texts that are shown (default: 20)")
    return parser.parse_intermixed_args(arguments)


if __name__ == "__main__":
    outlive_screen()
    conclude(main)
