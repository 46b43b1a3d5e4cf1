"""What the console says below an iteration's figures: the base model's other baseline, and what they warn of."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from star_loop.records import Metrics
from star_loop.report import quantities

NEAR_ZERO, OFTEN = 0.05, 0.3
"""Accuracy, and share of unparsed answers, from which the form of the answers is worth a remark."""
MANY = 10
"""Passes over the examples of a round from which they are rather learned by heart."""


def with_examples(metrics: Metrics) -> Metrics | None:
    """Return what was measured after worked examples under the names of what is measured without; None: nothing was.

    Example:
        >>> with_examples({"evaluation/accuracy": 0.1, "evaluation_shots/accuracy": 0.25})
        {'evaluation/accuracy': 0.25}
    """
    before, after = "evaluation_shots/", "evaluation/"
    found = {after + name.removeprefix(before): v for name, v in metrics.items() if name.startswith(before)}
    return found or None


class Remarks:
    """What is worth saying of an iteration; the same advice is given once.

    Args:
        run: the run directory, as commands are told it.
    """

    def __init__(self, run: Path) -> None:
        self._run, self._said = run, set[str]()

    def new(self, iteration: int, metrics: Metrics) -> list[str]:
        """Return zero or more sentences about an iteration."""
        judge = f"python -m star_loop.judge {shlex.quote(str(self._run))} --iteration {iteration} --only unread"
        found = {kind: text for kind, text in _remarks(metrics, judge) if kind not in self._said}
        self._said |= found.keys()
        return list(found.values())


def _labels(metrics: Metrics) -> str:
    """Say that labels are no golds, and how good they are."""
    labelled, votes = (quantities.percent(metrics[f"collect/{name}"]) for name in ("labelled", "label_votes"))
    agreement = metrics.get("collect/label_agreement")
    golds = "no golds to compare with"
    if agreement is not None:
        golds = f"{quantities.percent(agreement)} of them are the golds"
    return f"labels by majority: {labelled} of the questions have one, {votes} of their rationales gave it, {golds}"


def _form(metrics: Metrics, accuracy: float) -> str:
    """Say what a model needs that does not know the form of an answer."""
    shown = with_examples(metrics)
    if shown is None:
        return (
            "the model does not know their form. Try task.exemplars=<worked examples>, task.instruction, or a model "
            "with model.chat_template=true"
        )
    after = shown["evaluation/accuracy"]
    if after > accuracy:
        return (
            f"the model does not know their form, of which worked examples make {quantities.percent(after)}: "
            "iterations will teach it"
        )
    return (
        "worked examples do not help it. Try other ones (task.exemplars), easier questions, task.instruction, or a "
        "stronger model"
    )


def _remarks(metrics: Metrics, judge: str) -> Iterator[tuple[str, str]]:
    """Yield kind and text; `judge` is the command that shows which answers were not read."""
    if "collect/labelled" in metrics:
        yield (said := _labels(metrics)), said  # at each iteration
    accuracy, unparsed = metrics.get("evaluation/accuracy"), metrics.get("evaluation/unparsed", 0.0)
    examples, epochs = metrics.get("train/examples"), metrics.get("train/epochs", 0.0)
    unread = f"{quantities.percent(unparsed)} of the answers could not be read"
    if accuracy is not None and accuracy <= NEAR_ZERO and unparsed >= OFTEN:
        yield "form", f"{quantities.percent(accuracy)} right, and {unread}: {_form(metrics, accuracy)}"
    elif unparsed >= OFTEN:
        said = (
            f"{unread} and count as wrong: {judge} shows why; task.instruction and task.verifier say what to write and "
            "read"
        )
        yield "unparsed", said
    if (cut := metrics.get("collect/truncated", 0.0)) >= OFTEN:
        yield "cut", f"{quantities.percent(cut)} of the rationales were cut off: raise generator.max_tokens"
    if epochs >= MANY:
        said = (
            f"each of the {quantities.count(examples)} examples was trained on {epochs:.0f} times, which is learning "
            "by heart: lower schedule.steps, or set trainer.max_epochs=3"
        )
        yield "epochs", said
