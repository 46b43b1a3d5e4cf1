"""What a task really says to a model: `python -m star_loop task=gsm8k show=prompts` prints some and stops."""

from collections.abc import Callable, Iterator, Sequence

from star_loop.protocols import Task
from star_loop.records import Observation
from star_loop.verifiers.lawful import judged


def prompts(task: Task, n: int = 2, render: Callable[[str], str] = str) -> str:
    """The exact prompts of the first `n` training observations, and their gold rationales with the verdict on them.

    Of a mixture they are the first `n` of each task. `render` is what a chat template makes of a prompt.
    """
    train = task.train()
    shown = [train[place] for place in task.first(n, train)]
    parts = [part for observation in shown for part in _parts(task, observation, render)]
    return "\n".join([*parts, *_ends(task, shown)])


def _parts(task: Task, observation: Observation, render: Callable[[str], str]) -> Iterator[str]:
    gold = task.gold_text(observation)
    verdict = judged(task.verifier, observation, gold)
    texts = {"collecting": task.prompt(observation), "training and evaluation": task.bare_prompt(observation)}
    if task.hint_marker is not None:
        texts["collecting, with the answer as a hint"] = task.prompt(observation, hint=True)
    texts = {name: render(text) for name, text in texts.items()}
    texts[f"gold rationale ({verdict.how}: {verdict.answer})"] = gold
    for name, text in texts.items():
        yield f"── {observation.id}: {name}\n{text}"


def _ends(task: Task, shown: Sequence[Observation]) -> Iterator[str]:
    """Say before what generation ends, once where it is the same for all."""
    ends: dict[str, list[str]] = {}
    for observation in shown:
        ends.setdefault(" or ".join(map(repr, task.stop_of(observation))) or "nothing", []).append(observation.id)
    for stop, ids in ends.items():
        whose = f"{', '.join(ids)}: " if len(ends) > 1 else ""
        yield f"── {whose}generation ends before {stop}"
