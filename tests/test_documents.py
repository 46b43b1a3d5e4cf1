"""Every command of README.md and docs/ is tried: run in order in one place, or composed where its comment says `GPU`.

A command may carry, as its comment, what it needs beside this machine's CPU: a GPU, the Hub, Ray, a server. Those are composed
and built, and nothing is loaded. The others run as they stand, with scripted engines in place of the real ones: what is
proved is that the commands, keys and files exist and fit together.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from star_loop.config.build import build
from tests.quiz import configure

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
CHEAP = ["model=scripted", "generator=scripted", "trainer=scripted", "schedule.steps=1", "schedule.wave=64",
         "~tracker.tensorboard", "~tracker.console"]  # fmt: skip
SMALL = ["task.train_per_level=10", "task.validation_per_level=2", "task.test_per_level=2"]
NAMED = re.compile(r"^```\w+\n(# ([\w/]+\.\w+)\b.*?)```", flags=re.M | re.S)
ELSEWHERE = re.compile(r"#.*\b(GPU|Hub|Ray|server)\b")

SESSION = """
import io, json, os, runpy, sys, traceback
from contextlib import redirect_stdout, redirect_stderr

for asked in sys.stdin:
    place, module, arguments = json.loads(asked)
    os.chdir(place)
    sys.argv = [module, *arguments]
    sys.modules.pop(module if module != "star_loop" else "star_loop.__main__", None)
    said, status = io.StringIO(), 0
    with redirect_stdout(said), redirect_stderr(said):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
    print(json.dumps([status, said.getvalue()[-2000:]]), flush=True)
"""
"""One process for all pages: what takes the time is to import the libraries."""
Session = Callable[[Path, str, list[str]], tuple[int, str]]
"""Runs `python -m module arguments` in a folder, and returns its status and what it said."""


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION], env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def run(place: Path, module: str, arguments: list[str]) -> tuple[int, str]:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([str(place), module, arguments]) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith("["):
                status, said = json.loads(line)
                return status, said
        return process.wait(), "it ended the process"

    with process:
        yield run
        process.kill()


TYPED = (
    "python ",
    "make ",
    "pip ",
    "trackio ",
    "tensorboard ",
    "mlflow ",
    "wandb ",
    "eval ",
    "ray ",
    "export ",
    "echo ",
)
"""How a line begins that is typed into a shell."""


def blocks(document: Path) -> list[list[str]]:
    """Its code: fenced as bash, or indented by four spaces after an empty line."""
    text = document.read_text(encoding="utf-8")
    fenced = re.findall(r"^```bash\n(.*?)^```", text, flags=re.M | re.S)
    plain = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"(?:(?<=\n\n)|\A)((?:    .*\n?)+)", plain)
    return [[line.strip() for line in block.splitlines()] for block in [*indented, *fenced]]


def commands(document: Path) -> list[str]:
    """Everything that is typed, in order."""
    return [line for block in blocks(document) for line in block if line.startswith(TYPED)]


def parsed(command: str) -> tuple[str, list[str]]:
    """Module and arguments of `python -m …`."""
    words = shlex.split(command, comments=True)
    assert words[:2] == ["python", "-m"], command
    return words[2], words[3:]


SHELLS = [shell for shell in ("bash", "zsh") if shutil.which(shell)]
SHIM = """#!/bin/sh
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\n\\0'; } >> "$TYPED"
"""
"""Stands for a program, and notes what a shell gives it."""


def given_by(shell: str, document: Path, place: Path) -> list[list[str]]:
    """What the programs of a page are given where its lines are typed, as they are written, into an interactive shell.

    A shell's own line (`eval`, `export`) has no program.
    """
    shims = place / "shims"
    shims.mkdir()
    for name in ("python", "make", "pip", "trackio", "tensorboard", "mlflow", "wandb", "ray", "star_loop"):
        (shims / name).write_text(SHIM)
        (shims / name).chmod(0o755)
    (place / "typed").write_text("")
    options = ["-f", "-o", "interactive_comments"] if shell == "zsh" else ["--norc", "--noprofile"]
    environment = {"PATH": f"{shims}:/usr/bin:/bin", "TYPED": str(place / "typed"), "HOME": str(place), "PS1": ""}
    lines = "\n".join([*(f"{line}" for block in blocks(document) for line in block if line.startswith(TYPED)), ""])
    done = subprocess.run(
        [shell, *options, "-i"], input=lines, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    complaints = re.findall(r".*(?:no matches|bad pattern|syntax error|not found|unmatched|event).*", done.stderr)
    assert not complaints, f"{shell}, {document.name}: {complaints}"
    noted = (place / "typed").read_text().split("\n\0")[:-1]
    return [call.rstrip("\0").split("\0") for call in noted]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_gives_every_program_what_is_written(shell: str, document: Path, tmp_path: Path) -> None:
    """Brackets, quotes, braces and comments reach the programs as these tests and readers take them."""
    (tmp_path / "trainer.rs").write_text("a file that a bracket could match")
    expected = [
        shlex.split(line.rpartition(" | ")[2].partition(" > ")[0], comments=True)
        for line in (line for block in blocks(document) for line in block)
        if line.startswith(TYPED) and not line.startswith(("eval ", "export "))
    ]
    assert given_by(shell, document, tmp_path) == expected


def python(document: Path) -> list[str]:
    return [command for command in commands(document) if command.startswith("python ")]


def prepared(place: Path) -> None:
    """What the documents speak of: a file of questions, and the blocks that begin with a comment that is a path."""
    rows = [
        {"q": f"How many legs have {k} cats?", "target": {"value": 4 * k}, "topic": "animals", "grade": k % 3}
        for k in range(1, 121)
    ]
    (place / "my.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, fixture in {"programs": "mbpp", "functions": "humaneval"}.items():
        shutil.copy(ROOT / f"tests/fixtures/{fixture}.jsonl", place / f"{name}.jsonl")
    for document in DOCUMENTS:
        for block, name in NAMED.findall(document.read_text(encoding="utf-8")):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(block)


def cheap(module: str, arguments: list[str]) -> list[str]:
    """The same with engines that cost nothing; what only looks is left as it is."""
    if module == "star_loop.export":
        return [*arguments, "--parts", "data"]  # scripted engines make no adapter
    if module != "star_loop" or {"--help", "--cfg", "show=prompts"} & set(arguments):
        return arguments
    given = {argument.partition("=")[0] for argument in arguments}
    few = [] if "iterations" in given else [f"iterations={1 if '-m' in given else 3}"]
    scored = ["scorer=scripted"] if "scorer" in given else []
    return [*arguments, *CHEAP, *few, *scored, *([] if given & {"task", "task._target_"} else SMALL)]


def here(document: Path) -> list[str]:
    """Those that this machine can run."""
    return [command for command in python(document) if not ELSEWHERE.search(command)]


@pytest.mark.parametrize("document", list(filter(here, DOCUMENTS)), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_runs_as_it_stands(document: Path, tmp_path: Path, session: Session) -> None:
    typed = [parsed(command) for command in here(document)]
    prepared(tmp_path)
    made = {word for _, arguments in typed for word in arguments if re.fullmatch(r"outputs/\w+", word)}
    made -= {f"outputs/{word[5:]}" for _, arguments in typed for word in arguments if word.startswith("name=")}
    before = [("star_loop", [f"name={path.removeprefix('outputs/')}"]) for path in sorted(made - {"outputs/default"})]
    before += [("star_loop", [])] if "outputs/default" in made else []
    for module, arguments in [*before, *typed]:
        status, said = session(tmp_path, module, cheap(module, arguments))
        assert status == 0, f"python -m {module} {shlex.join(arguments)}\n{said}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_for_elsewhere_compose_and_build(document: Path) -> None:
    for command in python(document):
        if ELSEWHERE.search(command):
            module, arguments = parsed(command)
            assert module == "star_loop"
            build(configure(*(argument for argument in arguments if argument != "-m")))


def test_targets_and_extras_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    for document in [*DOCUMENTS, CONTRIBUTING]:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(
            r"`?make ([a-z][a-z0-9-]+)", "\n".join(re.findall(r"`[^`]*`|^    make .*$", text, re.M))
        ):
            assert f"\n{target}:" in makefile, target
        for extra in re.findall(r"`\[([a-z]+)\]`", text):
            assert f"\n{extra} = [" in project, extra


def test_links_lead_somewhere() -> None:
    for document in [*DOCUMENTS, ROOT / "CHANGELOG.md", CONTRIBUTING]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.relative_to(ROOT)}: {link}"


def test_the_front_page_is_short_and_the_index_names_every_page() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 9 * 1024
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, f"docs/README.md does not lead to {page.name}"


def test_what_contributors_are_told_exists() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    for path in re.findall(r"\b(?:tests|conf|star_loop)/[\w/]*(?:\.py)?", text):
        assert (ROOT / path).exists(), path
    table = text[text.index("| room |") :].partition("\n\n")[0]
    told = {name.strip("/").removesuffix(".py") for name in re.findall(r"`([\w/]+(?:\.py)?)`", table)}
    assert told >= {p.name for p in (ROOT / "star_loop").iterdir() if (p / "__init__.py").exists()}
    for name in told:
        assert any((ROOT / "star_loop" / path).exists() for path in (name, f"{name}.py")), name


def test_hook_and_workflow_do_what_a_person_does() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == ["make lint"]
    jobs = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text())["jobs"]
    assert [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_citation_and_the_changelog_are_of_this_version() -> None:
    from omegaconf import OmegaConf

    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), flags=re.M)
    citation = OmegaConf.load(ROOT / "CITATION.cff")
    assert version and citation.version == version[1] and citation.license == "Apache-2.0"
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text()
