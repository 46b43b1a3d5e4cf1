"""Within loading: each verifier is held to its law, and shown golds, before anything is asked of a model."""

from collections import Counter
from collections.abc import Mapping

from star_loop.protocols import Task, Verifier
from star_loop.records import Observation
from star_loop.tasks.mixture import key_of
from star_loop.tasks.splitting import Subset
from star_loop.verifiers.lawful import name_of, probed, shown

ODD = (
    "", " ", "\n\n", "\x00", "\ud800", "####", "#### ", "\\boxed{", "<answer></answer>", "```python\n", "{}", "{0} %s",
    "NaN", "-", "½ ٣ 🦉", "\u202e#### 1", "<think>", "(", "\\", "9" * 5000, "((" * 2000, "a " * 50_000,
)  # fmt: skip
"""Texts on which verifiers have failed."""
PAID_PROVEN, _SHORT = 3, 100
"""The same of a verifier whose verdicts cost money, and the longest odd text that it is asked about."""
_END = 60
"""Characters of a gold text that a message shows: its end, where the answer stands."""
GOLDS_PROVEN = 1000
"""How many observations of each split must prove that the verifier accepts their gold answer."""


def prove(task: Task, splits: Mapping[str, Subset]) -> None:
    """Hold each verifier to its law on the first observation that it judges, and to the first golds of each task.

    Of one whose verdicts cost money, only a few.

    Raises:
        ValueError: see `prove_total` and `prove_gold`.
    """
    proven: Counter[int] = Counter()
    for split, observations in splits.items():
        for place in task.first(GOLDS_PROVEN, observations):
            observation = observations[place]
            verifier = task.verifier.choose(observation)
            if verifier.paid_for and proven[id(verifier)] >= PAID_PROVEN:
                continue
            proven[id(verifier)] += 1
            if proven[id(verifier)] == 1:
                prove_total(task.verifier, observation)
            if observation.answer or (verifier.compares and task.labels == "gold"):
                prove_gold(task, split, observation)


def prove_total(verifier: Verifier, observation: Observation) -> None:
    """Hold a verifier to its law on texts as models write them when they fail: a verdict for each, the same again.

    Raises:
        ValueError: an exception, or another verdict the second time; with the text.
    """
    chosen, name = verifier.choose(observation), name_of(verifier, observation)
    for text in ODD if not chosen.paid_for else [text for text in ODD if len(text) <= _SHORT]:
        first, again = (probed(verifier, observation, text) for _ in range(2))
        if first != again:
            said = "; ".join(f"{'right' if each.correct else 'wrong'}, {each.how}" for each in (first, again))
            raise ValueError(
                f"task: the verifier {name} judges {shown(text)}, asked about {observation.id}, now "
                f"so, now so ({said}): let it depend on nothing but the observation and the text"
            )


def prove_gold(task: Task, split: str, observation: Observation) -> None:
    """Show a verifier the gold text of an observation: one that rejects the truth would silently starve the loop.

    Raises:
        ValueError: it rejects it, or there is no such text; with the answer, the text's end, and what to do.
    """
    text, name = task.gold_text(observation), name_of(task.verifier, observation)
    if not isinstance(text, str):  # of a task or a verifier of one's own
        raise ValueError(
            f"task: {name} states the gold answer of {split} observation {observation.id!r} as {text!r}, no text"
        )
    verdict = probed(task.verifier, observation, text)
    if not verdict.correct:
        end = f"{'…' if len(text) > _END else ''}{text[-_END:]}"
        raise ValueError(
            f"task: the verifier {name} rejects the gold answer {observation.answer!r} of "
            f"{split} observation {observation.id!r} ({verdict.how}; it read {verdict.answer!r} in {end!r}): "
            f"correct the answer or choose another {key_of(task, observation)}.verifier"
        )
