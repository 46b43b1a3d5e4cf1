"""What Hydra's users expect of a command: help with meanings, completion, options that are spelt out, sweepers."""

import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import star_loop
from star_loop.config.build import build
from star_loop.config.component import Component
from star_loop.config.help import help_text, key_meanings
from star_loop.config.hydra import CONF, root_keys, wrong_option
from tests.quiz import configure

TORCH = (
    "__main__",
    "vllm_worker",
    "weights",
    "finetuning",
    "placement",
    "distributed",
    "pretrain",
    "tokenizer",
    "card",
)
"""Modules without components, which import torch or do something."""


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "star_loop", *arguments]
    return subprocess.run(line, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def components() -> Iterator[type[Component]]:
    for module in pkgutil.walk_packages(star_loop.__path__, "star_loop."):
        if not module.name.endswith(TORCH):
            importlib.import_module(module.name)

    def below(kind: type[Component]) -> Iterator[type[Component]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    yield from (kind for kind in below(Component) if kind.__module__.startswith("star_loop"))


def test_every_key_says_what_it_means() -> None:
    for component in components():
        for name in component.model_fields:
            assert key_meanings(component).get(name) or name == "verifier", f"{component.__name__}.{name}"


@pytest.mark.parametrize("overrides", [(), ("experiment=space", "sampler@sampler.within=adastar"), ("task=gsm8k",)])
def test_help_names_every_key_once_with_the_value_that_it_would_have(overrides: tuple[str, ...]) -> None:
    experiment = build(configure(*overrides))
    lines = help_text(experiment, {}).split("Keys, with the values they would have\n")[1].splitlines()
    shown = [line.strip().split("=")[0] for line in lines if "=" in line and not line.startswith("    ")]
    assert len(shown) == len(set(shown))

    def leaves(part: Component, prefix: str) -> Iterator[str]:
        for name in type(part).model_fields:
            value = getattr(part, name)
            held = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
            if held and all(isinstance(child, Component) for child in held.values()):
                for key, child in held.items():
                    yield from leaves(child, f"{prefix}{key}.")
            else:
                yield f"{prefix}{name}"

    assert sorted(shown) == sorted([*leaves(experiment, ""), "show"])
    assert "  seed=0                                    Of every random draw" in lines


def test_help_lists_every_group_and_option_also_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine/sampler").mkdir(parents=True)
    (tmp_path / "mine/sampler/my_own.yaml").write_text("_target_: star_loop.samplers.uniform.Uniform\n")
    done = command("--config-dir", "mine", "sampler.power=3", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    groups = done.stdout.split("Groups and their options")[1].split("Keys, with")[0]
    words = set(groups.replace(",", " ").split())
    options = {path.stem for path in CONF.glob("*/*.yaml") if path.parent.name != "hydra"} | {"my_own"}
    assert words >= options | {path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"}
    assert "\n  sampler.power=3.0  " in done.stdout


@pytest.mark.parametrize(
    "typed, answer",
    [
        (["sampler.powr=3"], "sampler.powr: no such key: did you mean power?"),
        (["sampler=adastr"], "Could not find 'sampler/adastr': did you mean adastar?"),
        (["--config-dir", "nowhere"], "nowhere' not found"),
        (["--config-name", "my.own"], "Cannot find primary config 'my.own': --config-dir says in which folder"),
        (["--config-name", "mine"], "Cannot find primary config 'mine': --config-dir says in which folder"),
        (["-m", "seed=0,1"], "Ambiguous value for argument 'seed=0,1'"),
    ],
)
def test_help_of_what_cannot_run_says_why(typed: list[str], answer: str, tmp_path: Path) -> None:
    done = command("-h", *typed, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("star_loop: configuration error: ")
    assert answer in done.stderr
    assert "Traceback" not in done.stderr


def test_tab_completes_groups_options_and_keys(tmp_path: Path) -> None:
    for typed, offered in (
        ("sampler=", {f"sampler={path.stem}" for path in (CONF / "sampler").glob("*.yaml")}),
        ("generator=vl", {"generator=vllm"}),
        ("iter", {"iterations="}),
    ):
        done = command("-sc", "query=bash", cwd=tmp_path, COMP_LINE=f"star_loop {typed}")
        assert set(done.stdout.split()) == offered


@pytest.mark.parametrize(
    "typed, answer",
    [
        (["--confg-dir", "mine"], "--confg-dir: no such option: did you mean --config-dir?"),
        (["--experiment", "star"], "--experiment: keys are written without dashes: experiment=…"),
        (["seed=1", "--schedule.steps=3"], "--schedule.steps: keys are written without dashes: schedule.steps=3"),
        (["--config-dir=mine", "--cfg", "job", "-m", "seed=0,1"], None),
    ],
)
def test_options_are_not_guessed(typed: list[str], answer: str | None) -> None:
    assert wrong_option(typed, root_keys()) == answer


def test_what_libraries_say_is_in_the_log_and_not_on_the_screen(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import logging, warnings\nfrom tests.quiz import Quiz\n\nclass Noisy(Quiz):\n    def train(self):\n"
        "        warnings.warn('old', stacklevel=1)\n        logging.getLogger('transformers.x').warning('slow')\n"
        "        logging.getLogger('noisy').warning('mine')\n        logging.getLogger('vllm').error('broken')\n"
        "        return super().train()\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent.parent)])
    done = command("experiment=smoke", "task._target_=noisy.Noisy", "iterations=0", cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    (log,) = tmp_path.glob("outputs/smoke/attempts/*/launch.log")
    for word, shown in (("old", False), ("slow", False), ("mine", True), ("broken", True)):
        assert word in log.read_text()
        assert (word in done.stderr) is shown, done.stderr


def test_optuna_looks_for_the_highest_validation_accuracy_and_continues(tmp_path: Path) -> None:
    pytest.importorskip("optuna", minversion="4", reason='needs the extra "star_loop[optuna]"')
    sweep = ["-m", "tune=optuna", "hydra.sweeper.n_trials=2", "trainer.rate=interval(0.05, 0.5)", "experiment=smoke",
             "iterations=1", "schedule.steps=1", "~tracker.tensorboard", f"outputs={tmp_path}"]  # fmt: skip
    results = tmp_path / "smoke/optimization_results.yaml"
    twice = (
        "import pathlib, sys; from star_loop.__main__ import main\n"
        f"main(); found = pathlib.Path({str(results)!r}).read_text()\n"
        f"sys.argv[1:] = {sweep!r}\n"
        f"print('AGAIN', flush=True); main(); assert pathlib.Path({str(results)!r}).read_text() == found"
    )
    done = subprocess.run(
        [sys.executable, "-c", twice, *sweep], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, again = done.stdout.split("AGAIN")
    assert (first.count("committed iteration=1"), again.count("committed iteration")) == (2, 0)
    assert "++trainer.rate" in results.read_text() and "best_value: 0." in results.read_text()
