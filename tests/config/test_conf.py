"""Every file under conf/ composes and builds; what is wrong is named with its remedy before anything starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from star_loop.config.build import build
from star_loop.config.component import Component
from star_loop.config.hydra import CONF, groups, prepare, safe, slug
from star_loop.errors import ConfigError
from star_loop.launch import show
from star_loop.protocols import Sampler
from star_loop.records import Rollout
from star_loop.run.configuration import flatten
from star_loop.run.directory import FREE_KEYS
from tests.quiz import QUIZ, configure

GROUPS = (
    "task",
    "model",
    "sampler",
    "allocator",
    "preparation",
    "search",
    "selectors",
    "scorer",
    "reward",
    "generator",
    "trainer",
)
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
PAPERS = {
    "star", "star_full", "star_acc", "star_acc_full", "star_acc_full_k", "star_acc_early_stop", "rest_em", "rft",
    "adastar", "adastar_no_curriculum", "adastar_no_win_rate", "adastar_priority_flipped", "smoke",
    "b_star", "cures", "cures_counts", "cures_deviation", "gvm", "knapsack", "lark", "mopps", "peers",
    "dart", "dump", "hs_star", "replay", "rsr", "sec", "skill_it", "space",
}  # fmt: skip


@pytest.mark.parametrize("group, option", OPTIONS)
def test_every_option_builds(group: str, option: str) -> None:
    # The scripted trainer knows no learning rate, so it comes with its own model.
    company = ["model=scripted"] if (group, option) == ("trainer", "scripted") else []
    build(configure(f"{group}={option}", *company))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_builds_and_is_named_after_itself(experiment: str) -> None:
    assert build(configure(f"experiment={experiment}")).name == experiment


def test_the_promised_experiments_exist() -> None:
    assert set(EXPERIMENTS) >= PAPERS


@pytest.mark.parametrize(
    "experiment, expected",
    [
        ("star", ("base", "Uniform", None, ["correct", "cap", "subset"], "steps")),
        ("star_full", ("base", "Uniform", None, ["correct", "cap"], "epochs")),
        ("star_acc", ("previous", "Uniform", None, ["correct", "cap", "subset"], "steps")),
        ("star_acc_full", ("previous", "Uniform", None, ["correct", "cap"], "epochs")),
        ("star_acc_full_k", ("previous", "Uniform", None, ["correct"], "epochs")),
        ("star_acc_early_stop", ("previous", "Uniform", "beta", ["correct", "cap"], "steps")),
        ("rest_em", ("base", "Uniform", None, ["correct", "cap"], "epochs")),
        ("rft", ("base", "Uniform", None, ["correct", "deduplicate"], "epochs")),
        ("adastar", ("previous", "AdaStar", "beta", ["correct", "cap"], "steps")),
    ],
)
def test_an_experiment_is_a_point_in_a_grid_of_switches(experiment: str, expected: tuple) -> None:
    x = build(configure(f"experiment={experiment}", "model=scripted", "trainer=scripted", "generator=scripted"))
    schedule = x.schedule
    found = (x.start_from, type(x.sampler).__name__, schedule.quota, list(x.selectors), schedule.train_by)
    assert found == expected


@pytest.mark.parametrize(
    "override, message",
    [
        ("sampler.powr=3", r"sampler\.powr: no such key: did you mean power\?"),
        ("sampler.power=hello", r"sampler\.power: .*number.*got 'hello'"),
        ("sampler.power=-1", r"sampler\.power: .*greater than or equal to 0, got -1"),
        ("schedule.quota=often", r"^schedule\.quota: input should be 'beta' or a valid integer.*, got 'often'$"),
        ("schedule.quota=0", r"^schedule\.quota: input should be 'beta' or greater than or equal to 1, got 0$"),
        ("allocator.rollouts=1000001", r"^allocator\.rollouts: input should be less than or equal to 1000000"),
        ("selectors.cap.limit=0", r"selectors\.cap\.limit: .*got 0"),
        ("generator.table=[2]", r"^generator\.table\.0: input should be less than or equal to 1, got 2$"),
        ("seed=-1", r"seed: .*got -1"),
        ("start_from=scratch", r"start_from: .*'base' or 'previous', got 'scratch'"),
        ("sampler._target_=os.system", r"'os\.system' is not a star_loop component and was not called"),
        ("sampler._target_=nowhere.Sampler", r"cannot import 'nowhere\.Sampler'"),
        ("sampler._target_=star_loop.samplers.adastar.AdaStart", r"has no 'AdaStart'"),
        ("sampler._target_=star_loop.selectors.family.Correct", r"sampler: .*Sampler"),
        ("+extra=1", r"extra: no such key"),
    ],
)
def test_a_wrong_configuration_names_the_key_the_value_and_the_remedy(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(configure(*QUIZ, override))


def test_every_problem_of_a_component_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        build(configure(*QUIZ, "sampler.power=x", "sampler.alpha=y"))
    assert {line.split(":")[0] for line in str(error.value).splitlines()} == {"sampler.power", "sampler.alpha"}


def test_keys_and_indices_within_a_value_are_named_and_nothing_else() -> None:
    graph = "sampler.mixture.graph={add: [mul, [sub]]}"
    with pytest.raises(ConfigError) as error:
        build(configure(*QUIZ, "sampler=skill_it", graph))
    named = {line.split(": ")[0] for line in str(error.value).splitlines()}
    assert named == {"sampler.mixture.graph", "sampler.mixture.graph.add"}
    with pytest.raises(ConfigError, match=r"^sampler\.by\.1: input should be a valid string, got 7"):
        build(configure(*QUIZ, "sampler=skill_it", "+sampler.by=[skill, 7]"))


def test_a_missing_key_is_asked_for() -> None:
    config = configure(*QUIZ)
    del config["name"]
    with pytest.raises(ConfigError, match=r"name: Experiment needs this key: give name="):
        build(config)


def test_components_are_frozen_and_take_no_positional_arguments() -> None:
    sampler = build(configure(*QUIZ)).sampler
    with pytest.raises(ValueError, match="frozen"):
        sampler.power = 3  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        type(sampler)(2.0)  # type: ignore[call-arg]


def test_a_sampler_from_outside_the_package_needs_two_files(tmp_path: Path) -> None:
    """Those of docs/extending.md, as they stand there."""
    page = (Path(__file__).parent.parent.parent / "docs/extending.md").read_text()
    (tmp_path / "my_conf/sampler").mkdir(parents=True)
    for name in ("my_sampler.py", "my_conf/sampler/longest.yaml"):
        (tmp_path / name).write_text(page[page.index(f"# {name}") :].partition("```")[0])
    command = [sys.executable, "-m", "star_loop", "--config-dir", str(tmp_path / "my_conf"), "experiment=smoke",
               "sampler=longest", f"outputs={tmp_path}", "iterations=2"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    observations = build(configure("experiment=smoke")).task.train()
    lengths = [len(o.question) for o in observations]
    waves = (tmp_path / "smoke/iterations/0002/waves/000.jsonl").read_text().splitlines()
    asked = {Rollout.from_json(line).position for line in waves}
    rest = [length for k, length in enumerate(lengths) if k not in asked]
    assert len(asked) == 64
    assert min(lengths[k] for k in asked) >= max(rest)


def test_free_keys_exist_or_belong_to_a_component() -> None:
    known = set(flatten(configure())) | {"show"} | groups()
    for free in FREE_KEYS:
        root = free.split(".")[0]
        assert any(key == free or key.startswith(root) for key in known), free


def test_every_public_component_documents_its_keys() -> None:
    def subclasses(kind: type) -> set[type]:
        return {kind} | {s for sub in kind.__subclasses__() for s in subclasses(sub)}

    build(configure())
    for component in subclasses(Component):
        if component.__module__.startswith("star_loop"):
            assert component.__doc__, component


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../b", "", "a//b", "a\nb", ".", "a\\b"])
def test_a_name_cannot_leave_outputs(name: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        safe(name)


def test_plain_names_are_taken_as_they_are() -> None:
    assert [safe(n) for n in ("adastar", "a-b_c.1", "group/run", "größe=1")] == [
        "adastar",
        "a-b_c.1",
        "group/run",
        "größe=1",
    ]


def test_what_hydra_is_told() -> None:
    assert prepare(["sampler=uniform", "sampler.power=0", "hydra.job.name=x", "+a.b=1", "~selectors.cap", "seed=3"]) == [
        "sampler=uniform", "++sampler.power=0", "hydra.job.name=x", "+a.b=1", "~selectors.cap", "seed=3",
    ]  # fmt: skip
    swept = prepare(["iterations=2", "-m", "sampler=uniform,adastar", "trainer.learning_rate=1e-3,1e-2"])
    assert swept[0] == "-m"
    assert swept[-1] == "hydra.job.config.override_dirname.exclude_keys=[iterations]"
    again = prepare(["-m", "schedule.steps=2", "seed=4", "schedule.steps=2,3"])
    assert again[-1] == "hydra.job.config.override_dirname.exclude_keys=[seed]"


def test_directory_names_of_sweeps_are_safe_and_stable() -> None:
    assert slug("sampler=adastar,seed=0") == "sampler=adastar,seed=0"
    assert slug("++trainer.learning_rate=0.001") == "trainer.learning_rate=0.001"
    assert slug("task.path=../../etc/passwd").startswith("task.path=..-..-etc-passwd-")
    assert "/" not in slug("a=/x/y z\n'\"$(rm)")
    assert slug("") == "job"


def test_a_sampler_is_what_its_group_says() -> None:
    for path in (CONF / "sampler").glob("*.yaml"):
        assert isinstance(build(configure(*QUIZ, f"sampler={path.stem}")).sampler, Sampler)


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ConfigError, match="input should be 'prompts' or null, got 'everything'"):
        show(configure(*QUIZ, "show=everything"))
    assert "Q: What is 0 in train?" in show(configure(*QUIZ, "show=prompts"))
