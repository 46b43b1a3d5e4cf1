"""How far a student on a quantised base is from the model that is served. A torch module: import it in functions."""

import json
from pathlib import Path

from star_loop.models import Model
from star_loop.models.device import lent
from star_loop.models.weights import load_merged, sequence_logprobs, write_canary


def settle(start: Model, adapter: Path) -> float:
    """Measure the canary's prompts with the base as it is on disk, and put those figures in the place of the student's.

    What is served is that base with the adapter, so this is what a canary must prove.

    Returns:
        The mean distance of a prompt's log-probability from the quantised student's, in nats per token.
    """
    told = json.loads((adapter / "canary.json").read_text(encoding="utf-8"))
    prompts = told["prompts"]
    tokens = sum(max(len(ids) - 1, 0) for ids in prompts)
    measured = []
    for model in (start, Model(base=start.base, adapter=adapter)):
        with lent(load_merged(model)) as served:
            measured.append(sequence_logprobs(served, prompts))
    before, after = measured
    write_canary(adapter, prompts, before, after)
    return float(sum(abs(one - other) for one, other in zip(after, told["after"], strict=True)) / max(tokens, 1))
