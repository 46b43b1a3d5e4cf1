"""The floor: operations of a phase over the peak of a matrix product, measured in the same process."""

import math
from collections.abc import Sequence

from benchmarks.speed.measuring import Row
from star_loop.accounting.flops import peak_flops, shapes_of
from star_loop.models import Pretrained

WEIGHT_BYTES = 4


class Floor:
    """Made while nothing else runs. Of a GPU, which this process leaves to the engine, no peak is known."""

    def __init__(self, base: Pretrained) -> None:
        self.shapes, self.peak = shapes_of(base), peak_flops(base) or math.nan

    def share(self, phase: str, flops: Sequence[float], seconds: Sequence[float]) -> Row:
        """For the record: where the rest goes is in NOTES.md."""
        shares = [100 * done / took / self.peak for done, took in zip(flops, seconds, strict=True)]
        size = self.shapes.parameters * WEIGHT_BYTES / 1e6
        return Row(
            what=f"{phase}: share of the peak of a matrix product", against="", ours=shares, unit="%", figures=shares,
            per="%", goal=None, remark=f"peak {self.peak / 1e9:.0f} GFLOP/s, {size:.1f} MB of weights",
        )  # fmt: skip
