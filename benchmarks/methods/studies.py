"""What is compared: each study is a setting, the methods that share it, and what they are measured against.

Everything here was fixed before the first run of a claim's seeds (0, 1, …), on seeds from 1000 on and on validation
questions only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Overrides = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A setting and its methods: name → overrides. Every method gets the setting first, then its own."""

    title: str
    question: str
    """What the study answers."""
    setting: Overrides
    methods: Mapping[str, Overrides]
    control: str
    """The method that the others are paired with, seed by seed."""
    targets: Sequence[float]
    """Fixed test accuracies; the cost to reach them is compared."""
    seeds: int = 5
    """So many seeds, from 0."""

    def overrides(self, method: str, seed: int) -> list[str]:
        """What is given to `python -m star_loop` for one run. The seed draws the questions too."""
        return [*self.setting, *self.methods[method], f"seed={seed}", f"task.seed={seed}"]


MEASURED = ("task.test_per_level=30", "task.validation_per_level=10")
"""540 test questions after every iteration, 30 of each skill and level."""
EARLY = "schedule.wave=64"
"""Small waves, so that little is generated past a quota. Where there is none, the default is faster."""
ONE_CORE = ("generator.threads=1", "trainer.threads=1")
QUIET = ("~tracker@tracker.console", "~tracker@tracker.tensorboard")

STOPPING = Study(
    title="Sampling cost",
    question="What does AdaSTaR save over STaR-Acc, and what of it is the early stop?",
    setting=(
        "task.train_per_level=160",  # 2,880 observations against a quota of 160 × 1.2^(t-1): the paper's regime
        "schedule.steps=20",
        "iterations=10",
        *MEASURED,
        *ONE_CORE,
        *QUIET,
    ),
    methods={
        "STaR": ("experiment=star",),
        "STaR-Acc": ("experiment=star_acc",),
        "STaR-Acc-Full": ("experiment=star_acc_full", "trainer.epochs=1"),
        "early stop": ("experiment=star_acc_early_stop", EARLY),
        "AdaD": ("experiment=adastar_no_curriculum", EARLY),
        "AdaSTaR": ("experiment=adastar", EARLY),
    },
    control="early stop",
    targets=(0.6, 0.7, 0.8),
)

ORDER = Study(
    title="Order",
    question="Does any order beat the random one where hard observations are rare and passes are many?",
    setting=(
        "task.train_per_level=240",  # 240, 96, 38, 15 observations from a skill's lowest level to its highest
        "task.train_decay=0.4",
        "schedule.steps=40",
        "schedule.growth=1.0",
        "iterations=8",
        *MEASURED,
        *ONE_CORE,
        *QUIET,
    ),
    methods={
        "random": ("experiment=star_acc_early_stop", EARLY),
        "AdaSTaR": ("experiment=adastar", EARLY),
        "hardest first": ("experiment=adastar_priority_flipped", EARLY, "sampler.power=0"),
        "CurES prompts": ("experiment=star_acc_early_stop", EARLY, "sampler=cures"),
        "SPaCe": ("experiment=space", EARLY, "sampler.by=[skill,level]"),
        "stratified": ("experiment=star_acc_early_stop", EARLY, "sampler=stratified", "sampler.by=[skill,level]"),
    },
    control="random",
    targets=(0.6, 0.7, 0.8),
    seeds=11,
)

STUDIES = {"stopping": STOPPING, "order": ORDER}
