"""What is refused before a directory is made: with exit code 2, in the words of whoever typed it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from star_loop.config.before import folder_of_sweep, options, settings_of_run
from star_loop.config.explain import explain
from star_loop.config.hydra import register, root_keys
from star_loop.config.source import Sources
from star_loop.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "star_loop", "experiment=smoke", "iterations=0", *arguments]
    variables = os.environ | {"PYTHONPATH": f"{ROOT}:{cwd}", "HF_HUB_OFFLINE": "1"} | environment
    return subprocess.run(line, cwd=cwd, env=variables, capture_output=True, text=True, check=False)


def refusal(*typed: str) -> str:
    register()
    with pytest.raises((ConfigError, HydraException, OmegaConfBaseException)) as error:
        settings_of_run(options(["experiment=smoke", *typed]))
    return explain(error.value, root_keys())


@pytest.mark.parametrize(
    "typed, answer",
    [
        ("outputs=", "outputs= is empty: give a folder"),
        ("outputs=null", "outputs= is empty: give a folder"),
        ("hydra.run.dir=", "hydra.run.dir is empty"),
        ("name=", "name='' must be a plain name"),
        ("name=null", "name=None must be a plain name"),
        ("name=.", "name='.' must be a plain name"),
        ("name=x/attempts", "every run has a folder attempts: choose another name"),
        ("name=wandb", "every run has a folder wandb: choose another name"),
        ("name=x/comparison.html", "a file of this name is written beside the runs: choose another name"),
        ("name=${name}", "name: asks for itself, by ${…}"),
        ("outputs=${outputs}", "outputs: asks for itself, by ${…}"),
        ("~name", "name: this key is needed, and nobody gives it"),
        ("~task", "task: Experiment needs this key: give task=…"),
        ("task=null", "task: Experiment needs this key: give task=…"),
        ("-m --cfg job seed=0,1", "--cfg shows what one run would be: leave out -m"),
        ("--info defaults -m", "--info shows what one run would be: leave out -m"),
        ("tracker=null", "tracker: several tell how a run goes, each under its name: ~tracker@tracker.console leaves"),
        ("~tracker", "tracker: several tell how a run goes, each under its name"),
        ("tracker=wandb", "+tracker@tracker.wandb=wandb adds one"),
        ("~schedule", "schedule: Experiment needs this key: give schedule=…"),
        ("schedule=null", "schedule: input should be a valid dictionary or instance of Schedule, got None"),
        ("task=file task.path=", "task.path: a path is wanted, or null, got ''"),
        ("seed=-1", "seed: input should be greater than or equal to 0, got -1"),
        ("seed=true", "seed: a number is wanted, got True"),
        ("task.test_per_level=10001", "task.test_per_level: input should be less than or equal to 10000, got 10001"),
        ("iterations=two", "iterations: input should be a valid integer"),
        ("trainer.lr=1", "trainer.lr: no such key: did you mean rate?"),
        (
            "model=./mine",
            "model=./mine: a directory or a name on the Hugging Face Hub is given by model.name_or_path=./mine",
        ),
        ("task=my.jsonl", "task=my.jsonl: a file of your own is given by task=file task.path=my.jsonl"),
        ("sampler._target_=star_loop.protocols.Sampler", "Sampler cannot be built: it lacks init, learn, propose"),
    ],
)
def test_what_cannot_run_is_refused_in_the_words_that_were_typed(typed: str, answer: str) -> None:
    said = refusal(*typed.split())
    assert answer in said
    assert "++" not in said and "full_key" not in said


@pytest.mark.parametrize("empty", ["seed=range(0,0)", "++seed=range(5,1)", "seed=shuffle(range(0))"])
def test_a_sweep_without_a_job_is_refused(empty: str) -> None:
    register()
    with pytest.raises(ConfigError, match=re.escape(f"{empty} holds no number, so that there is no job")):
        folder_of_sweep(options(["-m", "experiment=smoke", "sampler=uniform,adastar", empty]))
    folder_of_sweep(options(["-m", "experiment=smoke", "sampler=uniform,adastar", "seed=range(1)"]))


def test_a_group_that_is_switched_off_is_left_out() -> None:
    register()
    assert settings_of_run(options(["experiment=lark", "scorer=null", "selectors=star"]))[0].get("scorer") is None


def test_a_refusal_leaves_no_directory_and_its_exit_code_is_2(tmp_path: Path) -> None:
    for typed in ("seed=-1", "outputs=", "sampler=null", "notes=\udcff"):
        done = command(typed, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("star_loop: configuration error: ") and done.stderr.count("\n") == 1
        assert not list(tmp_path.iterdir())


def test_what_only_the_launch_can_refuse_leaves_no_folder_either(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for typed in (
        "model.name_or_path=./nowhere name=a/b",
        "-m model.name_or_path=./nowhere,./nobody",
        "-m show=prompts seed=0,1",
        "outputs=there fork=x",
    ):
        done = command("experiment=smoke", *typed.split(), cwd=tmp_path)
        assert done.returncode and "Traceback" not in done.stderr
        assert [path.name for path in tmp_path.rglob("*")] == ["there"], typed


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "run/attempts").parent.mkdir()
    (tmp_path / "run/attempts").write_text("")
    named = {f"name={'n' * 300}": "n" * 300, "outputs=file": "file", "outputs=loop": "loop",
             "outputs=. name=run": "run/attempts is no folder"}  # fmt: skip
    for typed, name in named.items():
        done = command(*typed.split(), cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("star_loop: ") and done.stderr.count("\n") == 1, done.stderr
        assert name in done.stderr


def test_a_disk_that_is_full_before_the_run_begins_is_named(tmp_path: Path) -> None:
    line = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", sys.executable, "-B", "-m", "star_loop", "experiment=smoke"]
    for sweep in ([], ["-m", "seed=0,1"]):
        keys = [f"outputs={tmp_path}", "name=full", *sweep]
        variables = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([*line, *keys], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert f"File too large: '{tmp_path}/full" in done.stderr and "Traceback" not in done.stderr


# ----------------------------------------------------------------------------------------------- what is imported


MODULES = {
    "loud.py": "print('IMPORTED')\ndef function(): ...\nclass Bare: ...\n",
    "broken.py": "raise SystemExit('IMPORTED')\nfrom star_loop.samplers.uniform import Uniform as Mine\n",
    "torn.py": "class Mine(\n",
    "likely.py": "print('IMPORTED')\nclass Mine(dict): ...\nclass Round(Back): ...\nBack = Round\n"
    "def make(): ...\nMade = make()\nfrom loud import *\n",
    "good.py": "import star_loop.protocols as p\nfrom mine import parts\nfrom mine.parts import Bare as B\n"
    "import mine.parts\nclass One(p.Sampler): ...\nclass Two(parts.Bare): ...\nclass Three(B): ...\n"
    "class Four(mine.parts.Bare): ...\nFive = Four\ntry:\n    from nowhere import Six\nexcept ImportError:\n    Six = B\n",
    "mine/near.py": "from .parts import Bare\nfrom . import parts\nclass Seven(parts.Bare): ...\nfrom good import *\n",
    "mine/__init__.py": "",
    "mine/parts.py": "from star_loop.samplers.uniform import Uniform\n\nclass Mine(Uniform):\n    def model_post_init(self, _):\n        1 / 0\n"
    "class Bare(Uniform): ...\n",
}


def write_modules(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(source)
    monkeypatch.syspath_prepend(str(folder))


def test_however_a_component_is_written_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_modules(tmp_path, monkeypatch)
    named = {"good": ("One", "Two", "Three", "Four", "Five", "Six"), "mine.near": ("Bare", "Seven", "Three")}
    for module, names in named.items():
        for name in names:
            sources = Sources()
            assert sources.binds(module, name) and sources.derives(module, name, "star_loop"), (module, name)
    assert not {"good", "mine", "likely"} & set(sys.modules)


@pytest.mark.parametrize(
    "target, answer",
    [
        ("antigravity.fly", "is not a star_loop component and was not called"),
        ("loud.function", "is not a star_loop component and was not called"),
        ("loud.Bare", "is not a star_loop component and was not called"),
        ("likely.Mine", "is not a star_loop component and was not called"),
        ("likely.Round", "is not a star_loop component and was not called"),
        ("likely.Made", "is not a star_loop component and was not called"),
        ("likely.Starred", "is not a star_loop component and was not called"),
        ("loud.nothing", "'loud' has no 'nothing'"),
        ("nowhere.Mine", "there is no module nowhere"),
        ("mine.no.Mine", "there is no module mine.no"),
        ("torn.Mine", "'torn' cannot be read"),
        ("broken.Mine", "importing 'broken' failed (SystemExit: IMPORTED)"),
        ("mine.parts.Mine", "Mine cannot be built (ZeroDivisionError: division by zero)"),
    ],
)
def test_what_cannot_be_a_component_is_not_imported(
    target: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_modules(tmp_path, monkeypatch)
    assert answer in refusal(f"sampler._target_={target}")
    assert "IMPORTED" not in capsys.readouterr().out


def test_runs_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    register()
    assert settings_of_run(options(["outputs=~/runs", "name=x"]))[1] == tmp_path / "runs/x"
