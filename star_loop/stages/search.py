"""The stage before collecting: pilot rollouts at every temperature, where a search is configured."""

from functools import partial

from star_loop.accounting.metrics import token_counts
from star_loop.experiment import Experiment
from star_loop.models import Model
from star_loop.records import Metrics, Rollout
from star_loop.run.directory import IterationDirectory
from star_loop.searches.balance import Setting
from star_loop.seeding import rng
from star_loop.stages.load import Splits
from star_loop.stages.rollouts import Generation


class Searching:
    """Without a search it does nothing."""

    def __init__(self, x: Experiment, splits: Splits, generation: Generation) -> None:
        self.x, self.splits, self.generation = x, splits, generation
        self.cost = x.generator.cost(x.model)

    def __call__(self, here: IterationDirectory, model: Model) -> Setting | None:
        """What to sample with in this iteration."""
        if self.x.search is None:
            return None
        return self.x.search.settle(self._pilots(here, model))[0]

    def metrics(self, here: IterationDirectory, model: Model) -> Metrics:
        """The setting, the balance of each temperature, and what the pilots cost."""
        if self.x.search is None:
            return {}
        pilots = self._pilots(here, model)
        setting, balances = self.x.search.settle(pilots)
        figures = {"search/temperature": setting.temperature, "search/balance": setting.balance}
        figures |= {f"search/balance_{temperature:g}": balance for temperature, balance in balances.items()}
        if setting.threshold is not None:
            figures["search/threshold"] = setting.threshold
        figures["search/rollouts"] = float(sum(map(len, pilots.values())))
        figures["tokens/search"] = float(sum(sum(token_counts(rollouts)) for rollouts in pilots.values()))
        for rollouts in pilots.values():
            spent = self.cost.iteration(rollouts, {})
            for kind in ("flops", "flops_exact"):
                if f"{kind}/generate" in spent:
                    figures[f"{kind}/search"] = figures.get(f"{kind}/search", 0.0) + spent[f"{kind}/generate"]
        return figures

    def _pilots(self, here: IterationDirectory, model: Model) -> dict[float, list[Rollout]]:
        search = self.x.search
        assert search is not None
        n = len(self.splits["train"])
        asked = rng(self.x.seed, "search", here.number).permutation(n)[: search.questions]
        draws = dict.fromkeys(asked.tolist(), search.rollouts)
        return {
            t: here.evaluation(f"pilots/{t:g}", partial(self.generation.pilot, here.number, f"{t:g}", draws, model, t))
            for t in search.temperatures
        }
