"""docs/run_directory.md is a contract: every file that runs write, and every figure in `metrics.json`, stands on it."""

import re
from pathlib import Path, PurePosixPath

import pytest

from star_loop.launch import launch
from star_loop.run.directory import RunDirectory
from tests.quiz import QUIZ, configure

PAGE = (Path(__file__).parent.parent.parent / "docs/run_directory.md").read_text(encoding="utf-8")
SCRIPTED = ("model=scripted", "generator=scripted", "trainer=scripted")
RUNS = {
    "a search": (
        *QUIZ,
        "search=balance",
        "search.temperatures=[0.5,1.0]",
        "search.questions=3",
        "evaluation.samples=4",
    ),
    "pilots": (*QUIZ, "experiment=cures_deviation", *SCRIPTED),
    "a preparation": (*QUIZ, "preparation=pilots", "sampler=cures", "second_try=rationalize"),
    "scores": (*QUIZ, "scorer=scripted", "scorer.diagnose=true", "selectors=lark", "schedule.replay=1"),
    "wrong ones": (*QUIZ, "selectors=contrast", "allocator=neyman", "allocator.rollouts=4", "second_try=none"),
    "majority": (*QUIZ, "task.labels=majority", "allocator.rollouts=4", "second_try=none"),
    "a mixture": (*QUIZ, "sampler=skill_it", "sampler.by=[level]", "generator.seeding=request"),
    "worked examples": ("experiment=smoke", "task=word_problems", "schedule.shots_until=auto", "debug=profile"),
}

CLOSED = ("preparation", "attempts", "adapter", ".engine", "tensorboard")
"""Folders of which the page says what they are for, not what is in them."""


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = tmp_path_factory.mktemp("run")
    launch(configure(*RUNS[request.param], "iterations=2"), directory)
    return RunDirectory(directory)


def figures() -> list[re.Pattern[str]]:
    """The names of the table: `/b` after `a/…` is `a/b`, `<x>` one part of a name, `…` any that follow."""
    found, first = [], ""
    for row in re.findall(r"^\| (`.+?) \| ", PAGE, flags=re.M):
        for name in re.findall(r"`([^`]+)`", row):
            first = name.partition("/")[0] or first
            whole = re.escape(first + name if name.startswith("/") else name)
            found.append(re.compile(re.sub(r"<\w+>", "[^/@]+", whole).replace("…", ".+")))
    return found


def files() -> set[str]:
    """The names in the drawing of the folder, without the folders that they are in."""
    drawing = PAGE.partition("outputs/<name>/\n")[2].partition("\n\n")[0]
    words = re.findall(r"[\w.<>/]+", drawing)
    return {part for word in words for part in PurePosixPath(word).parts}


def test_every_figure_has_a_row(run: RunDirectory) -> None:
    names = {name for metrics in run.committed_metrics() for name in metrics}
    assert names and not [name for name in names if not any(row.fullmatch(name) for row in figures())]


def test_every_file_is_in_the_drawing(run: RunDirectory) -> None:
    for path in (path for path in run.path.rglob("*") if path.is_file()):
        parts = path.relative_to(run.path).parts
        *_, folder, name = ("", *parts)
        closed = [part for part in parts[:-1] if part in CLOSED]
        name = re.sub(r"^(wave_)?\d{3}\.jsonl$", r"\g<1>000.jsonl", name)
        name = "0.8.jsonl" if folder == "pilots" and re.fullmatch(r"[\d.]+\.jsonl", name) else name
        assert (closed or [name])[0] in files(), path.relative_to(run.path)
