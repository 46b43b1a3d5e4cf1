"""What is compared: each study is a setting, the methods that share it, and what they are measured against.

Everything here was fixed before the first run of a claim's seeds (0, 1, …), on seeds from 1000 on and on validation
questions only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

Overrides = Sequence[str]
OUTPUTS = Path("outputs/methods")
"""The run directories."""
DEVELOPMENT = 1000
"""The first of the seeds that settings are tried with, which no table counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What accuracy is bought with."""

    key: str
    """Of a point of a curve."""
    unit: str
    scale: float


FLOPS = Cost(key="flops", unit="TFLOPs", scale=1e12)
ROLLOUTS = Cost(key="rollouts", unit="thousand rollouts", scale=1e3)
TOKENS = Cost(key="tokens", unit="thousand trained tokens", scale=1e3)
UNIQUE_OBSERVATIONS = Cost(key="visited", unit="observations asked", scale=1)
SECONDS = Cost(key="seconds", unit="seconds, evaluation apart", scale=1)
MEASURES = (FLOPS, ROLLOUTS, UNIQUE_OBSERVATIONS, SECONDS)
"""In every plot, after the study's own."""


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
    cost: Cost = FLOPS
    seeds: int = 5
    """So many seeds, from 0."""
    core: Sequence[str] = ()
    """The methods that the default set runs; it leaves the others, and the seeds past the fifth, to who wants more."""
    taught: str | None = None
    """Rationales come from a pool of these teachers instead of from the model; the loss on golds is measured too."""
    warm: bool = False
    """Every run begins with the one model that `WARM_UP` makes, instead of the embedded one."""

    def overrides(self, method: str, seed: int) -> list[str]:
        """What is given to `python -m star_loop` for one run. The seed draws the questions too."""
        pool = [f"generator.path={pool_path(self.taught, seed)}"] if self.taught else []
        model = [f"model.name_or_path={WARM_MODEL}"] if self.warm else []
        return [*model, *self.setting, *self.methods[method], *pool, f"seed={seed}", f"task.seed={seed}"]


def pool_path(teachers: str, seed: int) -> Path:
    """Where the teachers' rationales for one draw of the questions are written."""
    return OUTPUTS / "teachers" / f"{teachers}-{seed}.jsonl"


MEASURED = ("task.test_per_level=30", "task.validation_per_level=10")
"""540 test questions after every iteration, 30 of each skill and level."""
EARLY = "schedule.wave=64"
"""Small waves, so that little is generated past a quota. Where there is none, the default is faster."""
ONE_CORE = ("generator.threads=1", "trainer.threads=1")
QUIET = ("~tracker@tracker.console", "~tracker@tracker.tensorboard")
SPACE_TENTH = (
    "experiment=space",
    "preparation=clusters",
    "preparation.clusters.core=29",  # of each of 10 clusters
    "sampler.by=[cluster]",
    "sampler.without=[no_cluster]",
)
"""SPaCe on the core-set of a tenth of the observations."""
ALIKE = (*MEASURED, *ONE_CORE, *QUIET)
"""What the settings end with."""

WARM = OUTPUTS / "warm"
"""The run that makes the model with which studies on a real model begin."""
WARM_MODEL = WARM / "export" / "0001" / "merged"
"""That model."""
WARM_GOLDS = OUTPUTS / "warm.jsonl"
"""What it learned from: a gold rationale of each of its questions."""
TOLD = (
    "task=word_problems",
    "task.plots=[sum,together,story,comparison]",
    "task.levels=[1,2]",
    "task.instruction=null",
    "model.dtype=float32",  # which any processor multiplies fast
    "generator.max_tokens=48",
    "evaluation.shots=false",
    "second_try=none",
    "schedule.batch=4",
    "trainer.learning_rate=5e-4",
)
"""Word problems of one or two steps for SmolLM2-135M-Instruct, small enough for two minutes of a core."""
WARM_UP = (
    "model=smollm2-135m-instruct",
    *TOLD,
    "task.train_per_level=4",  # 32 questions
    "task.validation_per_level=1",
    "task.test_per_level=1",
    "generator=teachers",
    f"generator.path={WARM_GOLDS}",
    "generator.student.threads=1",
    "sampler=uniform",
    "schedule.quota=null",
    "schedule.train_by=epochs",
    "trainer.epochs=1",
    "trainer.threads=1",
    *QUIET,
    "iterations=1",
    f"seed={DEVELOPMENT}",
    f"task.seed={DEVELOPMENT}",
    "name=warm",
)
"""It learns the form of an answer, at which the base model fails first, with a seed that no table counts.

The loop finds that form by itself (`make real`), but not for the price of these studies.
"""

PAPER = (
    "task.train_per_level=160",  # 2,880 observations against a quota of 160 × 1.2^(t-1): the paper's regime
    "schedule.steps=20",
    "iterations=10",
)
RARE = (
    "task.train_per_level=240",  # 240, 96, 38, 15 observations from a skill's lowest level to its highest
    "task.train_decay=0.4",
    "schedule.steps=40",
    "schedule.growth=1.0",
    "iterations=8",
)
TARGETS = (0.6, 0.7, 0.8)

STOPPING = Study(
    title="Sampling cost",
    question="What does AdaSTaR save over STaR-Acc, and what of it is the early stop?",
    setting=(*PAPER, *ALIKE),
    methods={
        "STaR": ("experiment=star",),
        "STaR-Acc": ("experiment=star_acc",),
        "STaR-Acc-Full": ("experiment=star_acc_full", "trainer.epochs=1"),
        "early stop": ("experiment=star_acc_early_stop", EARLY),
        "AdaD": ("experiment=adastar_no_curriculum", EARLY),
        "AdaSTaR": ("experiment=adastar", EARLY),
        "hardest first": ("experiment=hardest_first", EARLY),
        "peers": ("experiment=peers", EARLY),
        # Three iterations go further than the others get for their FLOPs; all distinct ones of five draws.
        "B-STaR": ("experiment=b_star", "iterations=3", "selectors.best.limit=5"),
        "ReST-EM": ("experiment=rest_em", "iterations=2"),
    },
    control="early stop",
    core=("STaR-Acc", "early stop", "AdaSTaR"),
    targets=TARGETS,
)

ORDER = Study(
    title="Order",
    question="Does any order beat the random one where hard observations are rare and passes are many?",
    setting=(*RARE, *ALIKE),
    methods={
        "random": ("experiment=star_acc_early_stop", EARLY),
        "AdaSTaR": ("experiment=adastar", EARLY),
        "hardest first": ("experiment=adastar_priority_flipped", EARLY, "sampler.power=0"),
        "peers": ("experiment=peers", EARLY),
        "spaced": ("experiment=peers", "sampler._target_=benchmarks.methods.orders.Spaced", EARLY),
        "CurES prompts": ("experiment=star_acc_early_stop", EARLY, "sampler=cures"),
        "SPaCe": ("experiment=space", EARLY, "sampler.by=[skill,level]"),
        "stratified": ("experiment=star_acc_early_stop", EARLY, "sampler=stratified", "sampler.by=[skill,level]"),
    },
    control="random",
    core=("random", "AdaSTaR", "hardest first", "SPaCe"),
    targets=TARGETS,
    seeds=11,
)

ORDERS: Mapping[str, Overrides] = {
    "random": ("experiment=star_acc_early_stop",),
    "AdaSTaR": ("experiment=adastar",),
    "hardest first": ("experiment=hardest_first",),
    "peers": ("experiment=peers",),
}
"""An early stop in each order, where the setting says the rest."""

REACH = Study(
    title="Out of reach",
    question="What does asking the hardest first cost where three in eight observations cannot be solved?",
    setting=(
        "task.levels={addition:[6,7,13,14],subtraction:[6,7,13,14],multiplication:[6,7,13,14],three_sum:[5,6],"
        "multiply_add:[5,6]}",
        "task.train_per_level=80",
        "schedule.steps=20",
        "schedule.growth=1.0",
        "iterations=8",
        EARLY,
        *ALIKE,
    ),
    methods=ORDERS,
    control="random",
    targets=(0.4, 0.5, 0.55),
    seeds=11,
)

ROLLOUT_BUDGETS = Study(
    title="Prompts and rollouts",
    question="Does CurES buy more accuracy with the same rollouts than uniform prompts and uniform rollouts?",
    setting=(
        "experiment=cures_counts",  # 4 rollouts of each prompt on average; learn from all that are correct
        *RARE,
        EARLY,
        *ALIKE,
    ),
    methods={
        "uniform": ("sampler=uniform", "allocator=fixed", "allocator.rollouts=4"),
        "CurES prompts": ("allocator=fixed", "allocator.rollouts=4"),
        "CurES rollouts": ("sampler=uniform",),
        "CurES, counts": (),
        "CurES": ("experiment=cures_deviation", "sampler.subsets=6", "sampler.steps=1"),
    },
    control="uniform",
    core=("uniform", "CurES"),
    targets=TARGETS,
    cost=ROLLOUTS,
)

UNIQUE = Study(
    title="Unique observations",
    question="Does SPaCe reach the accuracy of using everything with a tenth of the observations?",
    setting=(*PAPER, EARLY, *ALIKE),
    methods={
        "everything": ("experiment=star_acc_early_stop",),
        "random tenth": ("experiment=star_acc_early_stop", "task.train_per_level=16"),
        "SPaCe tenth": SPACE_TENTH,
    },
    control="everything",
    core=("everything", "SPaCe tenth"),
    targets=TARGETS,
)

OUR_SKILL_IT = ("sampler.mixture.loss=validation_after", "sampler.mixture.yield_cap=4", "sampler.mixture.floor=0.01")
"""Skill-It with the newest losses, corrected for how seldom hard skills are kept."""

PILOTS = Study(
    title="Ten iterations for one set of pilots",
    question="Does CurES, with the paper's ten steps a subset, buy more accuracy than uniform prompts and rollouts?",
    setting=("experiment=cures_counts", *RARE, "iterations=20", EARLY, *ALIKE),
    methods={
        "uniform": ("sampler=uniform", "allocator=fixed", "allocator.rollouts=4"),
        "uniform, halves": (
            "sampler.subsets=2",
            "sampler.steps=10",
            "sampler.tau=1000",  # a random order of the half
            "allocator=fixed",
            "allocator.rollouts=4",
        ),
        "CurES, σ = √(p(1-p))": ("experiment=cures_deviation", "sampler.subsets=2"),
        "CurES": ("experiment=cures", "sampler.subsets=2", "iterations=20"),
    },
    control="uniform",
    targets=TARGETS,
    cost=ROLLOUTS,
)

DUPLICATES = Study(
    title="Near-duplicates",
    question="What is worth most where a pool repeats each of its questions ten times over?",
    setting=(
        "task._target_=benchmarks.methods.pools.Repeated",
        "task.train_per_level=16",
        "schedule.steps=20",
        "iterations=10",
        EARLY,
        *ALIKE,
    ),
    methods={
        "random": ("experiment=star_acc_early_stop",),
        "hardest first": ("experiment=hardest_first",),
        "peers": ("experiment=peers",),
        "each once": ("experiment=star_acc_early_stop", "task.repeats=1"),
        "SPaCe tenth": SPACE_TENTH,
    },
    control="random",
    targets=TARGETS,
    seeds=11,
)

MIXTURE = Study(
    title="Mixtures of skills",
    question="Skill-It against stratified and random sampling, where some skills are prerequisites and some are rare",
    setting=(
        # Multiply-and-add needs multiplication and addition; half of the observations are easy sums.
        "task.levels={addition:[3,4,5,6,7,8],subtraction:[3,4,5,6,7,8],multiplication:[5,6],three_sum:[4,5],"
        "multiply_add:[4,5]}",
        "task.train_per_level=160",
        "schedule.steps=20",
        "schedule.growth=1.0",
        "iterations=10",
        EARLY,
        *ALIKE,
    ),
    methods={
        "random": ("experiment=star_acc_early_stop",),
        "stratified": ("experiment=star_acc_early_stop", "sampler=stratified"),
        "Skill-It": ("experiment=skill_it", *OUR_SKILL_IT),
        "Skill-It, learned graph": (
            "experiment=skill_it",
            *OUR_SKILL_IT,
            "preparation=skill_graph",
            "sampler.mixture.graph=learned",
        ),
    },
    control="random",
    targets=TARGETS,
)

TEACHING = {
    "random": ("selectors=first_correct",),
    "all correct": ("selectors=all_correct",),
    "shortest": ("selectors=shortest",),
    "most confident": ("selectors=confident", "scorer=student"),
    "LARK": ("selectors=lark", "scorer=student"),
    "LARK, one": ("selectors=lark", "scorer=student", "selectors.lark.budget=1"),
}
"""Which of the correct rationales are learned from."""

RATIONALES = Study(
    title="Rationales of several teachers",
    question="Does LARK's choice among correct rationales teach faster, for the same trained tokens, than others?",
    setting=(
        "generator=teachers",
        "generator.max_tokens=320",  # one of the teachers writes everything twice
        "generator.student.threads=1",
        "second_try=none",
        "sampler=uniform",
        "allocator.rollouts=5",
        "schedule.quota=160",
        "schedule.train_by=epochs",
        "schedule.wave=160",
        "iterations=8",
        *MEASURED,
        "trainer.threads=1",
        *QUIET,
    ),
    methods=TEACHING,
    control="random",
    core=("random", "all correct", "shortest", "most confident", "LARK"),
    targets=TARGETS,
    cost=TOKENS,
    taught="competent",
)

CARELESS = replace(
    RATIONALES,
    title="Rationales of several teachers, some careless",
    question="The same, where some teachers skip steps, turn them round or get them wrong, with the right answer",
    core=(),
    taught="careless",
)

STRONG = replace(
    RATIONALES,
    title="Rationales of one strong teacher",
    question="The same, where all rationales are right, one teacher's, and nearly in the student's own notation",
    core=(),
    taught="strong",
)

WORDS = (
    *TOLD,
    "task.test_per_level=7",  # 70 test questions, a fifth of them `retold`
    "task.validation_per_level=1",
    "schedule.shots_until=0",
    "schedule.steps=4",
    "schedule.growth=1.0",
    "schedule.wave=16",
    "trainer.max_epochs=2",
    "generator.temperature=0.7",
    "evaluation.test_every=4",
    "iterations=4",
    "trainer.threads=1",
    *QUIET,
)

SELF_TAUGHT = (*WORDS, "generator.threads=1", "selectors.correct._target_=star_loop.selectors.family.Faithful")
"""What is learned from is the model's own, and right in every step."""

WORDS_STOPPING = Study(
    title="Sampling cost, a real model",
    question="The same as `stopping` and the same orders, with SmolLM2-135M-Instruct after its first iteration",
    setting=(*SELF_TAUGHT, "task.train_per_level=9"),  # 72 questions, 36 of each number of steps
    methods={
        "STaR-Acc": ("experiment=star_acc",),
        "early stop": ("experiment=star_acc_early_stop",),
        "AdaSTaR": ("experiment=adastar",),
        "hardest first": ("experiment=hardest_first",),
        "peers": ("experiment=peers",),
    },
    control="early stop",
    targets=(),  # the test is asked before the first iteration and after the last one only
    warm=True,
)

WORDS_ORDER = replace(
    WORDS_STOPPING,
    title="Order, a real model",
    question="The same as `order`, with SmolLM2-135M-Instruct after its first iteration",
    setting=(*SELF_TAUGHT, "task._target_=benchmarks.methods.pools.Rare", "task.train_per_level=24"),
    methods=ORDERS,
    control="random",
)

TAUGHT_WORDS = Study(
    title="Rationales of several teachers, a real model",
    question="The same as `careless`, with SmolLM2-135M-Instruct after its first iteration",
    setting=(
        *WORDS,
        "task.train_per_level=9",
        "generator=teachers",
        "generator.max_tokens=96",  # one of the teachers says the question first
        "generator.student.threads=1",
        "sampler=uniform",
        "allocator.rollouts=5",
        "schedule.quota=32",
        "schedule.train_by=epochs",
    ),
    methods={name: TEACHING[name] for name in ("random", "most confident", "LARK", "LARK, one")},
    control="random",
    targets=(),
    cost=TOKENS,
    taught="told",
    warm=True,
)

STUDIES = {
    "stopping": STOPPING,
    "order": ORDER,
    "reach": REACH,
    "rollouts": ROLLOUT_BUDGETS,
    "pilots": PILOTS,
    "unique": UNIQUE,
    "duplicates": DUPLICATES,
    "mixture": MIXTURE,
    "rationales": RATIONALES,
    "careless": CARELESS,
    "strong": STRONG,
    "words": WORDS_STOPPING,
    "rare_words": WORDS_ORDER,
    "taught_words": TAUGHT_WORDS,
}
