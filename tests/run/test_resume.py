"""The same command again: after an interruption at any single effect, the run ends with the same bytes."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from star_loop.config.build import build
from star_loop.config.target import MOVED
from star_loop.errors import ConfigError
from star_loop.experiment import Experiment
from star_loop.launch import advance, launch, report_failure
from star_loop.run.commit import IterationState
from star_loop.run.configuration import flatten
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import Disk, RunError
from tests.quiz import QUIZ, configure, contents, play


class Interrupted(Exception):
    """The process would have died here."""


class FailingDisk(Disk):
    """Dies at its n-th effect: halfway through it (a rename has no half: before it), or after it."""

    def __init__(self, at: int = -1, how: str = "half") -> None:
        self.at, self.how, self.effects = at, how, 0

    def _effect(self, act, half=None) -> None:
        now, self.effects = self.effects, self.effects + 1
        if now != self.at:
            return act()
        if self.how == "after":
            act()
        elif half:
            half()
        raise Interrupted

    def write(self, path: Path, data: bytes) -> None:
        whole, half = super().write, data[: len(data) // 2]
        self._effect(lambda: whole(path, data), lambda: path.write_bytes(half))

    def append(self, path: Path, line: bytes) -> None:
        self._effect(lambda: super(FailingDisk, self).append(path, line), lambda: path.open("ab").write(line[:-5]))

    def flush(self, path: Path) -> None:
        self._effect(lambda: super(FailingDisk, self).flush(path))

    def rename(self, source: Path, target: Path) -> None:
        self._effect(lambda: super(FailingDisk, self).rename(source, target))

    def discard(self, path: Path) -> None:
        self._effect(lambda: super(FailingDisk, self).discard(path))


SHORT = ("iterations=2", "second_try=rationalize")


def run_with(disk: Disk, directory: Path, config: dict | None = None) -> None:
    """A launch without a report, which takes ten times as long as a scripted run."""
    config = config or configure_short()
    advance(build(config), RunDirectory(directory, disk), config)


@cache
def configure_short(seeding: str = "wave") -> dict:  # composing takes longer than running
    return configure(*QUIZ, *SHORT, f"generator.seeding={seeding}")


@pytest.fixture(scope="module", params=["wave", "request"])
def uninterrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict, int, dict[str, bytes]]:
    """The configuration, the number of effects, and what is there in the end."""
    directory = tmp_path_factory.mktemp("run")
    disk, config = FailingDisk(), configure_short(request.param)
    run_with(disk, directory, config)
    return config, disk.effects, contents(directory)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.reliability)])
def test_an_interruption_at_a_single_effect_changes_no_byte(
    uninterrupted: tuple[dict, int, dict[str, bytes]], tmp_path: Path, step: int
) -> None:
    """At every `step`-th effect; `make test-reliability`: at every one."""
    config, effects, expected = uninterrupted
    assert effects > 100
    # Dying after an effect is dying before the next: only the last one has no next.
    for at, how in [*((at, "half") for at in range(0, effects, step)), (effects - 1, "after")]:
        directory = tmp_path / f"{at}-{how}"
        with pytest.raises(Interrupted):
            run_with(FailingDisk(at, how), directory, config)
        run_with(Disk(), directory, config)
        assert contents(directory) == expected, f"interrupted {how} effect {at}"
        shutil.rmtree(directory)
    print(f"an interruption at {len(range(0, effects, step))} of {effects} effects")


def test_a_run_that_dies_again_and_again_ends_with_the_same_bytes(
    uninterrupted: tuple[dict, int, dict[str, bytes]], tmp_path: Path
) -> None:
    config, _, expected = uninterrupted
    deaths = 0
    while True:
        try:
            run_with(FailingDisk(20), tmp_path, config)
            break
        except Interrupted:
            deaths += 1
    assert deaths > 3
    assert contents(tmp_path) == expected


def assert_same_iterations(a: Path, b: Path) -> None:
    assert contents(a / "iterations") == contents(b / "iterations")


def test_a_complete_run_is_left_as_it_is(tmp_path: Path) -> None:
    play(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("iterations/**/*") if p.is_file()}
    play(tmp_path)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("iterations/**/*") if p.is_file()}


def test_finished_waves_are_not_generated_again(tmp_path: Path) -> None:
    play(tmp_path, "iterations=1")
    here = tmp_path / "iterations" / "0001"
    for path in here.iterdir():
        if path.name != "waves":  # the checksums go too: edited, a wave would be refused
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    first = here / "waves" / "000.jsonl"
    edited = first.read_text().replace("It is", "It surely is")
    first.write_text(edited)
    play(tmp_path, "iterations=1")
    assert first.read_text() == edited
    assert "It surely is" in (here / "examples.jsonl").read_text()


@pytest.mark.parametrize(
    "begun, resumed",
    [((), ("sampler.power=2", "sampler.alpha=accepted")), (("sampler.power=2",), ())],
)
def test_a_default_that_is_typed_is_the_default(
    tmp_path: Path, begun: tuple[str, ...], resumed: tuple[str, ...]
) -> None:
    play(tmp_path, "iterations=1", *begun)
    assert play(tmp_path, "iterations=2", *resumed).iteration == 2


def test_iterations_may_be_extended_and_match_a_longer_run(tmp_path: Path) -> None:
    play(tmp_path / "a", "iterations=1")
    play(tmp_path / "a", "iterations=3")
    play(tmp_path / "b", "iterations=3")
    assert_same_iterations(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    "override, key",
    [("seed=1", "seed"), ("sampler.power=1", "sampler.power"), ("schedule.growth=1.5", "schedule.growth")],
)
def test_another_configuration_is_refused_with_the_differing_keys(tmp_path: Path, override: str, key: str) -> None:
    play(tmp_path, "iterations=1")
    before = contents(tmp_path)
    with pytest.raises(RunError, match=rf"(?s)another configuration.*\b{key}: the run has"):
        play(tmp_path, "iterations=1", override)
    assert contents(tmp_path) == before


def change_identity(directory: Path, **changed: str) -> None:
    """As a run has it that began with something else."""
    identity = json.loads((directory / "identity.json").read_text())
    RunDirectory(directory).ledger.publish("identity.json", json.dumps(identity | changed).encode())


def test_changed_observations_are_refused(tmp_path: Path) -> None:
    play(tmp_path, "iterations=1")
    config = configure(*QUIZ, "iterations=1")
    change_identity(tmp_path, observations="other")
    with pytest.raises(RunError, match="observations changed"):
        launch(config, tmp_path)


def test_changed_base_weights_are_refused(tmp_path: Path) -> None:
    play(tmp_path, "iterations=1")
    change_identity(tmp_path, base_weights="other")
    with pytest.raises(RunError, match="base weights changed"):
        play(tmp_path, "iterations=1")


def test_another_package_version_is_only_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    play(tmp_path, "iterations=1")
    change_identity(tmp_path, torch="0.4.1")
    play(tmp_path, "iterations=1")
    assert "torch was 0.4.1" in caplog.text


def test_the_three_words_of_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="resume=always"):
        play(tmp_path, "resume=always")
    play(tmp_path, "iterations=1", "resume=never")
    play(tmp_path, "iterations=1", "resume=always")
    with pytest.raises(RunError, match="resume=never"):
        play(tmp_path, "iterations=1", "resume=never")


def test_a_gap_between_iterations_is_an_error(tmp_path: Path) -> None:
    play(tmp_path, "iterations=2")
    (tmp_path / "iterations/0001/state.json").unlink()
    with pytest.raises(RunError, match=r"0001/state\.json is missing although iteration 2"):
        play(tmp_path, "iterations=2")


@pytest.mark.parametrize("version", [0, 3, 99])
def test_another_format_is_refused(tmp_path: Path, version: int) -> None:
    play(tmp_path, "iterations=1")
    path = tmp_path / "iterations/0001/state.json"
    path.write_text(replace(IterationState.from_json(path.read_text()), format=version).sealed().to_json())
    with pytest.raises(RunError, match=f"format {version}"):
        play(tmp_path, "iterations=2")


@pytest.mark.parametrize("source", ["nowhere/iterations/0001", "run", "run/iterations/0009"])
def test_a_fork_from_nowhere_is_refused(tmp_path: Path, source: str) -> None:
    play(tmp_path / "run", "iterations=1")
    with pytest.raises(ConfigError, match="not a committed iteration"):
        play(tmp_path / "new", f"fork={tmp_path / source}")
    assert not contents(tmp_path / "new"), "nothing is bound to it"


def test_a_fork_may_change_the_method(tmp_path: Path) -> None:
    play(tmp_path / "run", "iterations=2")
    standing = play(tmp_path / "new", "iterations=3", "sampler=uniform", f"fork={tmp_path}/run/iterations/0002")
    assert standing.iteration == 3
    assert set(standing.beliefs) == {"n"}


def test_a_fork_goes_on_without_the_run_that_it_began_with(tmp_path: Path) -> None:
    play(tmp_path / "run", "iterations=2")
    fork = f"fork={tmp_path}/run/iterations/0002"
    play(tmp_path / "whole", "iterations=4", fork)
    play(tmp_path / "new", "iterations=3", fork)
    shutil.rmtree(tmp_path / "run")
    play(tmp_path / "new", "iterations=4", fork)
    assert contents(tmp_path / "new/iterations") == contents(tmp_path / "whole/iterations")


def test_a_fork_that_brings_more_than_is_asked_for_is_refused(tmp_path: Path) -> None:
    play(tmp_path / "one")
    source = tmp_path / "one/iterations/0003"
    with pytest.raises(ConfigError, match=r"takes over 3 iterations, and iterations=2: set iterations="):
        play(tmp_path / "two", f"fork={source}", "iterations=2")
    assert not (tmp_path / "two/config.yaml").exists()


def test_a_fork_with_other_observations_is_refused(tmp_path: Path) -> None:
    play(tmp_path / "run", "iterations=1")
    with pytest.raises(ConfigError, match="other observations"):
        play(tmp_path / "new", "task.n=20", f"fork={tmp_path}/run/iterations/0001")
    assert not contents(tmp_path / "new"), "nothing is bound to them"


def test_a_second_launch_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.locked(), pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
        play(tmp_path)


def test_a_refused_launch_forgets_nothing_where_another_has_just_begun(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    attempt = run.path / "attempts/mine"
    attempt.mkdir(parents=True)
    with run.locked():
        report_failure(RunError("it is in use"), run.path, attempt)
        assert {path.name for path in run.path.iterdir()} == {"attempts", ".lock", ".lock.holder"}
        assert not attempt.exists()
        with pytest.raises(RunError, match="in use"):
            play(run.path)
    report_failure(RunError("it is refused"), run.path, attempt)
    assert not run.path.exists()


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from star_loop.run.directory import RunDirectory\n"
        f"with RunDirectory(Path({str(tmp_path)!r})).locked(): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    play(tmp_path, "iterations=1")


def test_the_published_configuration_builds_the_same_experiment(tmp_path: Path) -> None:
    config = configure(*QUIZ)
    play(tmp_path)
    from omegaconf import OmegaConf

    published = OmegaConf.to_container(OmegaConf.load(tmp_path / "config.yaml"))
    assert flatten(published) == flatten(config)
    assert isinstance(build(published), Experiment)  # type: ignore[arg-type]


def test_a_run_that_names_a_component_by_its_former_path_goes_on(tmp_path: Path) -> None:
    former = {v: k for k, v in MOVED.items()}
    assert former, "every former path can be launched and continued by its present name"
    search = ("experiment=b_star", "model=scripted", "generator=scripted", "trainer=scripted", "iterations=1",
              "search.temperatures=[0.5,1.0]", "task._target_=tests.quiz.Quiz")  # fmt: skip
    play(tmp_path, *search, f"search._target_={former['star_loop.searches.balance.Balance']}")
    assert play(tmp_path, *search).iteration == 1


def test_a_directory_without_a_commit_takes_the_corrected_command(tmp_path: Path) -> None:
    """Also where the first launch had begun: what it left is kept apart, and not gone on with."""
    with pytest.raises(ValueError, match="rejects the gold answer"):
        play(tmp_path / "run", "task.wrong_gold=true")
    play(tmp_path / "expected", "iterations=1", "seed=3")
    run = tmp_path / "run"
    play(run, "iterations=0", "seed=1")
    for name in ("state.json", "evaluation.jsonl"):
        (run / "iterations/0000" / name).unlink()  # killed there
    play(run, "iterations=1", "seed=3")
    assert contents(run) == contents(tmp_path / "expected")
    assert (run / "attempts/uncommitted-1/iterations/0000/validation.jsonl").exists()
    with pytest.raises(RunError, match="is a run of another configuration"):
        play(run, "iterations=1", "seed=1")
