"""Before collecting, where a search is configured: pilot rollouts at every temperature, and the best balanced one."""

from collections.abc import Mapping, Sequence
from functools import partial

from star_loop.accounting.cost import Cost
from star_loop.accounting.metrics import token_counts
from star_loop.models import Model
from star_loop.records import Metrics, Rollout
from star_loop.run.directory import IterationDirectory
from star_loop.searches.balance import Balance, Setting
from star_loop.seeding import rng
from star_loop.stages.live import LiveRun
from star_loop.stages.marks import marked
from star_loop.stages.rollouts import draw_pilots


def search(live: LiveRun, iteration: IterationDirectory, model: Model) -> tuple[Setting | None, Metrics]:
    """Settle what to sample with in this iteration; without a search nothing is settled.

    Returns:
        The setting, and `search/…`: the setting, the balance of each temperature, and what the pilots cost.
    """
    wanted = live.experiment.search
    if wanted is None:
        return None, {}
    pilots = _pilots(live, wanted, iteration, model)
    setting, balances = wanted.settle(pilots)
    figures = {"search/temperature": setting.temperature, "search/balance": setting.balance}
    figures |= {f"search/balance_{temperature:g}": balance for temperature, balance in balances.items()}
    if setting.threshold is not None:
        figures["search/threshold"] = setting.threshold
    return setting, figures | _spent(live.cost, pilots)


def _pilots(
    live: LiveRun, wanted: Balance, iteration: IterationDirectory, model: Model
) -> Mapping[float, Sequence[Rollout]]:
    order = rng(live.experiment.seed, "search", iteration.number).permutation(len(live.splits["train"]))
    draws = dict.fromkeys(order[: wanted.questions].tolist(), wanted.rollouts)
    pilots = {}
    for temperature in wanted.temperatures:
        ask = partial(_drawn, live, iteration.number, draws, model, temperature)
        pilots[temperature] = iteration.evaluation(f"pilots/{temperature:g}", ask)
    return pilots


def _drawn(live: LiveRun, iteration: int, draws: Mapping[int, int], model: Model, temperature: float) -> list[Rollout]:
    return marked(live, draw_pilots(live, iteration, f"{temperature:g}", draws, model, temperature))


def _spent(cost: Cost, pilots: Mapping[float, Sequence[Rollout]]) -> Metrics:
    figures = {"search/rollouts": float(sum(map(len, pilots.values())))}
    figures["tokens/search"] = float(sum(sum(token_counts(rollouts)) for rollouts in pilots.values()))
    for rollouts in pilots.values():
        spent = cost.iteration(rollouts, {})
        for kind in ("flops", "flops_exact"):
            if f"{kind}/generate" in spent:
                figures[f"{kind}/search"] = figures.get(f"{kind}/search", 0.0) + spent[f"{kind}/generate"]
    return figures
