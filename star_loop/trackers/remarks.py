"""What the console says below an iteration's figures: the base model's other baseline, and why nothing is right."""

from star_loop.records import Metrics
from star_loop.report import quantities

NEAR_ZERO, OFTEN = 0.05, 0.3
"""Accuracy, and share of unparsed answers, from which the form of the answers is worth a remark."""


def remarks(metrics: Metrics) -> list[str]:
    """Return zero or more sentences about an iteration's evaluation.

    Example:
        >>> remarks({"evaluation/accuracy": 0.1, "evaluation_shots/accuracy": 0.25})
        ['with worked examples 25.0 % right']
    """
    found = []
    if (shots := metrics.get("evaluation_shots/accuracy")) is not None:
        found.append(f"with worked examples {quantities.percent(shots)} right")
    accuracy, unparsed = metrics.get("evaluation/accuracy"), metrics.get("evaluation/unparsed", 0.0)
    if accuracy is not None and accuracy <= NEAR_ZERO and unparsed >= OFTEN:
        found.append(
            f"{quantities.percent(accuracy)} right, and {quantities.percent(unparsed)} of the answers could not be "
            "read: the model does not know their form. Where it is asked without worked examples, iterations will "
            "teach it; else try task.instruction, task.bare_shots, or a model with model.chat_template=true"
        )
    return found
