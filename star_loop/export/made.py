"""How a run's rationales came about, in the words of a card."""

from star_loop.experiment import Experiment


def how_made(experiment: Experiment) -> str:
    """Say who wrote the rationales, who judged them and what chose among them, by the configuration."""
    verifier = type(experiment.task.verifier).__name__
    by = f"`{verifier}`" if experiment.task.labels == "gold" else f"`{verifier}`, against the answer of the majority"
    marked = f", marked by `{type(experiment.reward).__name__}`" if experiment.reward is not None else ""
    chosen = ", ".join(f"`{type(selector).__name__}`" for selector in experiment.selectors.values())
    return (
        f"{experiment.generator.writer(experiment.model.name_or_path)}, judged by {by}{marked}, and chosen by "
        f"{chosen or 'nothing'}. Where final answers alone are judged, a rationale that is right "
        "may be wrong in a step."
    )
