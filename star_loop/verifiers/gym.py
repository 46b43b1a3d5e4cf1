"""The verifier of reasoning-gym's procedural data sets, whose own scorers run apart, in a process that can be killed.

`python -m star_loop.verifiers.gym` reads one JSON list `[seconds, source, answer]` per line and writes one JSON line:
whether the library's scorer gives the answer full marks.
"""

import json
import signal
import sys
from functools import cached_property, lru_cache
from typing import Any, Literal

from pydantic import Field

from star_loop.processes.kept import Stopped
from star_loop.protocols import Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.verifiers.math_process import MathProcess
from star_loop.verifiers.reply import reply
from star_loop.verifiers.wrapping import unwrap

OPEN, CLOSE = "<answer>", "</answer>"


class Gym(Verifier):
    """Correct: what stands between the last `<answer>` and `</answer>` is the gold answer, up to spaces and
    Markdown around it.

    With `scorer=own`, another answer is correct too if the data set's own scorer gives it full marks. Mind that some of
    the library's scorers evaluate the answer as Python: use it only where what a model writes may run.
    """

    scorer: Literal["equal", "own"] = "equal"
    """`equal`: the gold answer itself; `own`: what the data set's own scorer gives full marks too."""
    thinking: bool = False
    """Whether an answer inside finished thinking (`<think>…</think>`) counts too."""
    timeout: float = Field(default=5.0, gt=0)
    """Seconds for one answer; then the scorer is killed, and the verdict is wrong."""

    @property
    def takes_labels(self) -> bool:
        """Judge by the gold answer alone, but for the data set's own scorer."""
        return self.scorer == "equal"

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare, then score; `answer` is as written."""
        counted = reply(text, thinking=self.thinking)
        _, opened, tail = counted.rpartition(OPEN)
        answer, closed, _ = tail.partition(CLOSE)
        answer, reading = answer.strip(), {"reply": counted, "statement": answer}
        if not (opened and closed and answer):
            return Verdict(answer=None, correct=False, how=How.NO_ANSWER, reading=reading)
        if answer == observation.answer.strip() or unwrap(answer) == unwrap(observation.answer):
            return Verdict.compared(answer, True, "marker", reading=reading)
        if self.scorer == "equal":
            return Verdict.compared(answer, False, "marker", reading=reading)
        try:
            full = self._process.ask(self.timeout, json.dumps(observation.meta["source"]), [answer])
        except Stopped as stopped:
            return Verdict(answer=answer, correct=False, how=f"scoring stopped: {stopped}")
        return Verdict(
            answer=answer, correct=bool(full), how=f"{'full marks' if full else 'less than full marks'} (marker)"
        )

    def statement(self, observation: Observation) -> str:
        """Return the answer between the tags."""
        return f"{OPEN}{observation.answer}{CLOSE}"

    @cached_property
    def _process(self) -> MathProcess:
        return MathProcess((sys.executable, "-m", "star_loop.verifiers.gym"))


@lru_cache(maxsize=8)
def dataset(name: str, size: int, seed: int, config: str) -> Any:
    """Return a procedural data set, generated as it is read; `config` is its configuration as JSON.

    Raises:
        ValueError: the extra `gym` is not installed, or the library knows no such data set or key.
    """
    try:
        import reasoning_gym
    except ModuleNotFoundError as error:
        raise ValueError(f'{name}: reasoning-gym is missing ({error}): pip install "star_loop[gym]"') from error
    try:
        return reasoning_gym.create_dataset(name, size=size, seed=seed, **json.loads(config))
    except (ValueError, TypeError, AssertionError) as error:
        raise ValueError(f"reasoning-gym cannot make {name} with {config}: {error}") from error


def serve() -> None:
    """Score until the input ends."""
    sys.stdout.write('"ready"\n')
    sys.stdout.flush()
    for line in sys.stdin:
        seconds, source, answer = json.loads(line)
        origin = json.loads(source)
        data = dataset(origin["name"], origin["size"], origin["seed"], origin["config"])
        signal.alarm(int(seconds) + 5)
        score = data.score_answer(answer=answer, entry=data[origin["index"]])
        signal.alarm(0)
        sys.stdout.write(json.dumps(bool(score >= 1)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
