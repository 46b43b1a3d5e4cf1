"""What the console says below an iteration's figures: the base model's other baseline, and why nothing is right."""

from star_loop.records import Metrics
from star_loop.report import quantities

NEAR_ZERO, OFTEN = 0.05, 0.3
"""Accuracy, and share of unparsed answers, from which the form of the answers is worth a remark."""


def with_examples(metrics: Metrics) -> Metrics | None:
    """Return what was measured after worked examples under the names of what is measured without; None: nothing was.

    Example:
        >>> with_examples({"evaluation/accuracy": 0.1, "evaluation_shots/accuracy": 0.25})
        {'evaluation/accuracy': 0.25}
    """
    before, after = "evaluation_shots/", "evaluation/"
    found = {after + name.removeprefix(before): v for name, v in metrics.items() if name.startswith(before)}
    return found or None


def remarks(metrics: Metrics) -> list[str]:
    """Return zero or more sentences about an iteration's evaluation."""
    accuracy, unparsed = metrics.get("evaluation/accuracy"), metrics.get("evaluation/unparsed", 0.0)
    if accuracy is None or accuracy > NEAR_ZERO or unparsed < OFTEN:
        return []
    return [
        f"{quantities.percent(accuracy)} right, and {quantities.percent(unparsed)} of the answers could not be read: "
        "the model does not know their form. Where it is asked without worked examples, iterations will teach it; "
        "else try task.instruction, task.bare_shots, or a model with model.chat_template=true"
    ]
