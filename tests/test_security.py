"""What is imported is declared, what is pinned fits, and what is secret stays so: all of it without a network."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from html import escape, unescape
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from star_loop.records import Observation
from star_loop.report.__main__ import main as report
from tests.quiz import QUIZ, Quiz, play

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "star_loop").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {
    path.name: [
        (Requirement(line.split("--hash")[0]), re.findall(r"--hash=sha256:[0-9a-f]{64}", line))
        for line in path.read_text().replace("\\\n", "").splitlines()
        if not line.startswith("#")
    ]
    for path in (ROOT / "requirements").glob("*.lock")
}
"""Lock -> its requirements, each with its hashes."""
PINNED = {
    canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
    for lock in ("torch.lock", "cpu.lock", "dev.lock")
    for requirement, _ in LOCKS[lock]
    if requirement.marker is None or requirement.marker.evaluate()
}
"""What is installed here."""


def declared() -> list[Requirement]:
    """Everything that pyproject.toml asks for, extras included."""
    listed = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    return [Requirement(r) for r in listed]


def imported(path: Path) -> Iterator[str]:
    """Top-level names of what a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


# ------------------------------------------------------------------------------------------------------ dependencies

COMES_WITH = {"huggingface_hub": "transformers", "yaml": "omegaconf", "antlr4": "omegaconf", "markupsafe": "jinja2"}
"""Imported on the word of a declared package that cannot do without it."""
APART = {"environment_process.py": {"verifiers"}}
"""Imported by a process that runs on another Python, the user's own for that package."""


def test_everything_that_is_imported_is_declared() -> None:
    asked = {canonicalize_name(r.name) for r in declared()}
    owners = packages_distributions()
    for path in MODULES:
        for name in set(imported(path)) - set(sys.stdlib_module_names) - {"star_loop"} - APART.get(path.name, set()):
            by = {canonicalize_name(d) for d in owners.get(name, [])} | {canonicalize_name(name)}
            with_it = canonicalize_name(COMES_WITH.get(name, name))
            assert by & asked or with_it in asked, f"{path.name} imports {name}, which pyproject.toml does not ask for"


def test_what_comes_with_a_package_is_really_asked_for_by_it() -> None:
    for name, parent in COMES_WITH.items():
        assert canonicalize_name(parent) in {canonicalize_name(r.name) for r in declared()}
        needed = {canonicalize_name(Requirement(r).name) for r in requires(parent) or []}
        by = {canonicalize_name(d) for d in packages_distributions().get(name, [])}
        assert by & (needed | {canonicalize_name(parent)}), f"{parent} does not bring {name}"


def test_every_pin_is_exact_has_hashes_and_is_within_what_is_declared() -> None:
    for lock, requirements in LOCKS.items():
        assert requirements and all(hashes for _, hashes in requirements), lock
        assert all(re.fullmatch(r"==[\w.!+-]+", str(requirement.specifier)) for requirement, _ in requirements), lock
    for requirement in declared():
        pin = PINNED.get(canonicalize_name(requirement.name))
        if pin is not None:
            assert requirement.specifier.contains(pin, prereleases=True), f"{requirement}: {pin} is pinned"
    runtime = {canonicalize_name(Requirement(r).name) for r in PROJECT["dependencies"]}
    assert not runtime - set(PINNED), "not pinned"


def test_what_is_installed_is_what_is_pinned() -> None:
    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    found = {name: (pin, installed(name)) for name, pin in PINNED.items()}
    different = {
        name: pair for name, pair in found.items() if pair[1] and pair[1].split("+")[0] != pair[0].split("+")[0]
    }
    assert not different


# ------------------------------------------------------------------------------------------------------------ source

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "shelve", "marshal", "dill", "cloudpickle", "joblib", "requests", "socketserver", "http", "ftplib", "telnetlib"}  # fmt: skip
FORBIDDEN_NAMES = {
    ("os", "system"),
    ("os", "popen"),
    ("torch", "load"),
    ("np", "load_pickle"),
    ("subprocess", "getoutput"),
}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_source_runs_no_text_unpickles_nothing_and_opens_no_connection(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = node.func
            assert not (isinstance(called, ast.Name) and called.id in FORBIDDEN_CALLS), ast.unparse(node)
            options = {keyword.arg: keyword.value for keyword in node.keywords}
            assert not isinstance(options.get("shell"), ast.Constant), f"a shell: {ast.unparse(node)}"
            for name in ("allow_pickle", "trust_remote_code"):
                given = options.get(name)
                assert not (isinstance(given, ast.Constant) and given.value is True), ast.unparse(node)
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                assert (called.value.id, called.attr) not in FORBIDDEN_NAMES, ast.unparse(node)
                if (called.value.id, called.attr) == ("np", "load"):
                    assert "allow_pickle" in options, ast.unparse(node)
    assert not set(imported(path)) & FORBIDDEN_MODULES
    assert not re.search(r"\burllib\b(?!\.parse)", path.read_text())  # addresses are taken apart, and not gone to


def test_remote_code_is_off_unless_asked() -> None:
    from star_loop.models import Pretrained

    assert Pretrained(name_or_path="x/y").trust_remote_code is False
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        assert "trust_remote_code: true" not in path.read_text().lower(), path


def test_importing_the_package_opens_no_connection_and_writes_no_file(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "compiler = os.environ['TORCHINDUCTOR_CACHE_DIR']\n"  # torch, where a module needs it, makes sure of this folder
        "def refuse(event, arguments):\n"
        "    if arguments and arguments[0] == compiler: return\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'os.mkdir'): raise SystemExit(f'{event} {arguments}')\n"
        "    if event == 'open' and isinstance(arguments[1], str) and set(arguments[1]) & set('wax+') and arguments[0] != '/dev/null':\n"
        "        raise SystemExit(f'{event} {arguments}')\n"
        "sys.dont_write_bytecode = True\n"
        "sys.addaudithook(refuse)\n"
        "import pkgutil, importlib, star_loop\n"
        "for module in pkgutil.walk_packages(star_loop.__path__, 'star_loop.'):\n"
        "    if not module.name.endswith(('__main__', 'finetuning', 'pretrain', 'placement', 'distributed', 'supervised')): importlib.import_module(module.name)\n"
        "print('done')"
    )
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("done"), done.stderr


# ----------------------------------------------------------------------------------------------------------- secrets

SECRETS = {
    name: f"{name.lower()}-do-not-tell-0123456789/+"
    for name in ("WANDB_API_KEY", "HF_TOKEN", "hugging_face_hub_token", "GITHUB_PAT", "PASSWORD", "PGPASSWORD",
                 "AWS_SECRET_ACCESS_KEY", "AUTHORIZATION", "BEARER")
}  # fmt: skip


def launch(directory: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "star_loop", *QUIZ, "name=run", f"outputs={directory}", "iterations=1", *overrides],
        cwd=directory, env=os.environ | SECRETS | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def told(directory: Path, done: subprocess.CompletedProcess[str]) -> set[str]:
    """Where a secret is found: a file's name, or the screen."""
    texts = {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    texts["the screen"] = (done.stdout + done.stderr).encode()
    return {
        name for name, data in texts.items() if any(secret.encode() in data for secret in (*SECRETS.values(), GITHUB))
    }


@pytest.mark.parametrize("failing", [(), ("task.wrong_gold=true",), ("task.n=0",)])
def test_tokens_of_the_environment_are_told_to_nobody(tmp_path: Path, failing: tuple[str, ...]) -> None:
    done = launch(tmp_path, "+tracker.tensorboard._target_=star_loop.trackers.TensorBoard", *failing)
    assert bool(done.returncode) == bool(failing), done.stderr
    assert not told(tmp_path, done)


GITHUB = "ghp_" + "0123456789" * 4


@pytest.mark.parametrize(
    "overrides",
    [
        ("task.verifier={_target_:star_loop.verifiers.exact.Exact,marker:'${oc.env:HF_TOKEN}'}",),
        ("task.no_such_key='${oc.env:GITHUB_PAT}'",),
        (
            "+tracker.mlflow={_target_:star_loop.trackers.MLflow,uri:'https://me:${oc.env:hugging_face_hub_token}@host'}",
        ),
        ("mirror=file:///m/${oc.env:PASSWORD}",),
        (f"mirror=https://me:{SECRETS['PGPASSWORD']}@host",),
        ("mirror=https://me:pgpassword-do-not-tell-0123456789%2F%2B@host",),
        ("mirror=https://me:typed-at-once@host",),
        ("mirror='file:///m?page=1&access_token=typed'",),
        ("notes='Bearer typed-at-once'",),
        ("notes='with password=typed-at-once'",),
        ("notes='${oc.env:AUTHORIZATION} ${oc.env:BEARER}'",),
        (f"name={GITHUB}",),
        (f"+{SECRETS['HF_TOKEN']}=1",),
        (SECRETS["HF_TOKEN"],),
        ("-m", "seed=0,1", "schedule.steps='${oc.env:HF_TOKEN}',2"),
        ("-m", "seed=0,1", "mirror=file:///m/${oc.env:PASSWORD}"),
        ("+own=secret", "--config-dir=mine"),
    ],
)
def test_a_secret_in_a_command_is_refused_before_anything_is_written(
    tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    """`${oc.env:…}` would resolve it into config.yaml, the report, the trackers' parameters and a message."""
    (tmp_path / "mine/own").mkdir(parents=True)
    (tmp_path / "mine/own/secret.yaml").write_text("# @package _global_\nmirror: file:///m/${oc.env:PASSWORD}\n")
    done = launch(tmp_path, *overrides)
    assert done.returncode == 2, done.stderr
    assert "holds the value of" in done.stderr or "holds what looks like a token" in done.stderr
    assert not told(tmp_path, done)
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}, "something was made"


# ----------------------------------------------------------------------------------------------------- broad handlers

SWALLOWED = {
    "stages/judge.py: verdicts": "the verifier's boundary: asked one by one after that",
    "stages/judge.py: _verdict": "the verifier's boundary: not correct, and logged",
    "verifiers/algebra.py: compare": "the same boundary, in the process of the algebra system",
    "trackers/fan_out.py: __init__": "the tracker fan-out: where a run is continued, reported",
    "trackers/fan_out.py: close": "the tracker fan-out: reported, and the run goes on",
    "trackers/fan_out.py: _attempt": "the tracker fan-out",
    "run/mirror.py: catch_up_or_warn": "the store of a mirror: asked again, reported, and caught up later",
}
"""Where any exception ends, in these three places."""
PASSED_ON = {
    "generators/vllm_worker.py: run": "sent to the parent process, which raises it",
    "verifiers/sandbox_process.py: _as_child": "told to the process that forked it: how a program ended",
    "verifiers/rewards_process.py: serve": "sent to the parent process, which counts or raises it",
    "verifiers/environment_process.py: main": "told to the parent process, which counts or raises it",
    "external/process.py: main": "told to the parent process, which raises it",
    "servers/side_by_side.py: work": "raised in the caller's thread",
    "verifiers/math_process.py: two_stages": "parsed in the other way, which raises what is wrong",
    "__main__.py: task": "reported, and the launch ends with an exit code",
}
"""Where it goes on without a `raise`."""


def broad_handlers(path: Path) -> Iterator[tuple[str, bool]]:
    """(file and function, whether it ends by raising) of each handler of `Exception`, of all or of everything."""
    within: dict[ast.ExceptHandler, str] = {}
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):  # an inner function comes after its outer one
            within |= {node: function.name for node in ast.walk(function) if isinstance(node, ast.ExceptHandler)}
    for handler, function in within.items():
        caught = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {""}
        if caught & {"", "Exception", "BaseException"}:
            yield (
                f"{path.relative_to(ROOT / 'star_loop').as_posix()}: {function}",
                isinstance(handler.body[-1], ast.Raise),
            )


def test_no_exception_is_hidden_outside_of_three_places() -> None:
    found = {where for path in MODULES for where, raises in broad_handlers(path) if not raises}
    assert found == {*SWALLOWED, *PASSED_ON}
    for path in MODULES:
        assert "suppress(" not in path.read_text(), path


# ------------------------------------------------------------------------------------------------------------ browser

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PAYLOADS = (
    "<script>document.title = 'owned'</script>",
    "</pre></script><script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<svg onload=\"document.title='owned'\"><details open ontoggle=\"document.title='owned'\">",
    "\" autofocus onfocus=\"document.title='owned'\" x='' onmouseover='",
    "<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
    "--><style>@import 'x'</style><base href='//x'><meta http-equiv=refresh content='0;url=data:text/html,owned'>",
    "{{ 7 * 7 }}{% raw %}&lt;script>document.title = 'owned'&lt;/script>",
)


class Hostile(Quiz):
    """Its questions and rationales want to be more than text."""

    def _some(self, split: str, n: int) -> list[Observation]:
        return [
            replace(
                observation, question=f"{observation.question} {PAYLOADS[k % len(PAYLOADS)]}", skill=PAYLOADS[k % 3],
                rationale=f"{PAYLOADS[k % len(PAYLOADS)]}\n{observation.rationale}",
            )
            for k, observation in enumerate(super()._some(split, n))
        ]  # fmt: skip


def dom(page: Path, profile: Path) -> str:
    """What a browser has made of a page once its scripts have run."""
    assert BROWSER is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={profile}"]
    done = subprocess.run(
        [BROWSER, *options, page.resolve().as_uri()], capture_output=True, text=True, check=False, timeout=120
    )
    assert "</html>" in done.stdout, done.stderr[-500:]
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium or Chrome on the PATH")
def test_scripts_in_rationales_are_text_in_a_browser(tmp_path: Path) -> None:
    for name in ("one", "two"):
        play(tmp_path / name, "task._target_=tests.test_security.Hostile", "task.n=16", "generator.table=[0.7]")
    report([str(tmp_path / "one"), str(tmp_path / "two"), "--into", str(tmp_path)])
    pages = [tmp_path / "comparison.html", tmp_path / "one/report.html"]
    for page in pages:
        title = re.search(r"<title>.*?</title>", page.read_text())
        shown = dom(page, tmp_path / "profile")
        assert title and title[0] in shown and "<title>owned" not in shown
    for payload in PAYLOADS:
        assert escape(payload, quote=False) in shown
    unescaped = tmp_path / "unescaped.html"
    unescaped.write_text(unescape(page.read_text()))
    assert "<title>owned</title>" in dom(unescaped, tmp_path / "profile"), "text that is not escaped does run"
