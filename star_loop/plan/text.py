"""A prediction, for people."""

from collections.abc import Mapping
from typing import Any

from star_loop.doctor import GIB
from star_loop.plan.work import REMEDIES

_PHASES = ("collect", "train", "evaluate", "learn and commit", "start", "total")


def text(found: Mapping[str, Any]) -> str:
    """Return a page of tables from what `plan` returns."""
    known, assumed, held = found["measured"], found["assumed"], found["memory"]
    fitted = ", ".join(
        f"{name} {known[name]:.3g}" for name in ("step", "token", "swap", "start", "begin", "load", "flop")
    )
    grown = [known["sampler"]["each"], known["commit"]["each"], known["sampler"]["held"]]
    lines = [
        f"from {known['run']} ({known['model']}), seconds: {fitted}",
        "timed now, for each observation: sampler {:.2g} s, commit {:.2g} s, memory {:.3g} bytes".format(*grown),
        f"assumed: {assumed['reading']:.2g} s to read an observation; {assumed['network']:.2g} bytes/s between nodes, "
        f"{assumed['node']} GPUs on each{_machine(assumed)}",
        f"memory of a GPU (as doctor estimates it): {held['generate'] / GIB:.1f} GiB to generate, "
        f"{held['train'] / GIB:.1f} to train, {held['train_checkpointing'] / GIB:.1f} with checkpointing",
        "",
        f"{'observations':>13} {'GPUs':>5} {'collect':>9} {'train':>9} {'evaluate':>9} {'learn':>9} {'start':>9} "
        f"{'total':>9} {'FLOPs':>8} {'memory':>10}  longest part",
    ]
    last = None
    for p in found["predictions"]:
        s = p["seconds"]
        named = f"{p['observations']:,}" if p["observations"] != last else ""
        times = " ".join(f"{_time(s[phase]):>9}" for phase in _PHASES)
        lines.append(
            f"{named:>13} {p['gpus']:>5} {times} {sum(p['flops'].values()):8.1e} {p['process_bytes'] / GIB:>6.2f} GiB  "
            f"{p['bottleneck']}"
        )
        last = p["observations"]
    met = dict.fromkeys(p["bottleneck"] for p in found["predictions"])
    return "\n".join([*lines, "", *(f"{name}: {REMEDIES[name]}" for name in met)]) + "\n"


def _machine(assumed: dict[str, Any]) -> str:
    if assumed["flops"] is None:
        return ""
    return f"; {assumed['flops']:.3g} FLOP/s and {assumed['memory_bandwidth']:.3g} bytes/s of a GPU"


def _time(seconds: float) -> str:
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86_400:.3g} d"
