"""How a run's rationales came about, in the words of a card."""

from star_loop.experiment import Experiment
from star_loop.generators.openai import OpenAI
from star_loop.generators.pool import Pool
from star_loop.generators.scripted import Scripted
from star_loop.protocols import Generator


def how_made(experiment: Experiment) -> str:
    """Say who wrote the rationales, who judged them and what chose among them, by the configuration."""
    verifier = type(experiment.task.verifier).__name__
    by = f"`{verifier}`" if experiment.task.labels == "gold" else f"`{verifier}`, against the answer of the majority"
    marked = f", marked by `{type(experiment.reward).__name__}`" if experiment.reward is not None else ""
    chosen = ", ".join(f"`{type(selector).__name__}`" for selector in experiment.selectors.values())
    return (
        f"{_written(experiment.generator, experiment.model.name_or_path)}, judged by {by}{marked}, and chosen by "
        f"{chosen or 'nothing'}. Where final answers alone are judged, a rationale that is right "
        "may be wrong in a step."
    )


def _written(generator: Generator, base: str) -> str:
    """Say who wrote them.

    Args:
        base: what the model that learns is called.
    """
    itself = f"`{base}` and the models that it became"
    match generator:
        case OpenAI(until=None):
            return f"written by `{generator.model}` on a server, not by the model that learns"
        case OpenAI():
            return f"written up to iteration {generator.until} by `{generator.model}` on a server, then by {itself}"
        case Pool(student=None):
            return "read from a file, whose writers it names or nobody knows; not written by the model that learns"
        case Pool():
            return f"read from a file; where it held none for a question, written by {itself}"
        case Scripted():
            return "written by a script in place of a model"
    return f"written by {itself}"
