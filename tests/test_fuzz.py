"""Readers and verifiers on inputs that chance has spoilt: a value, or one of the errors that explain themselves.

`make test` tries some inputs of each kind, `make test-reliability` many more; both print how many.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.launch import EXPECTED, launch
from star_loop.protocols import Verifier
from star_loop.records import Example, Observation, Record, RecordError, Rollout, Score, Verdict
from star_loop.report.summary import read
from star_loop.run.checksums import Ledger
from star_loop.run.commit import IterationState
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import Disk, RunError
from star_loop.seeding import rng
from star_loop.stages.load import load
from star_loop.tasks.file import File
from star_loop.verifiers.exact import Exact
from star_loop.verifiers.scratchpad import Scratchpad
from tests.quiz import QUIZ, configure
from tests.verifiers.test_real_verifiers import CASES, NASTY

TIMES = pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.reliability)])
TOKENS = [
    b"#### ", b"The answer is ", b"(B)", b"\\boxed{", b"}", b"{", b"[", b'"', b"\\", b"null", b"NaN", b"1e999", b"-", b"9" * 400,
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\n", b"\r\n", b",", b":", b"\xe2\x80\xae", b"<script>", b"../", b"=", b"<answer>",
]  # fmt: skip


def spoilt(data: bytes, chance: np.random.Generator) -> bytes:
    """One to four of: a bit flipped, a piece lost, doubled or moved, something strange put in."""
    for _ in range(int(chance.integers(1, 5))):
        a, b = sorted(chance.integers(0, len(data) + 1, 2).tolist())
        b = min(b, a + 40)
        match int(chance.integers(5)):
            case 0 if data:
                at = min(a, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ 1 << int(chance.integers(8))]) + data[at + 1 :]
            case 1:
                data = data[:a] + data[b:]
            case 2:
                data = data[:b] + data[a:b] + data[b:]
            case 3:
                data = data[:a] + data[b:] + data[a:b]
            case _:
                data = data[:a] + TOKENS[int(chance.integers(len(TOKENS)))] + data[a:]
    return data


SUM = Observation(id="s", question="What is 12+34?", answer="46", rationale="12+34\n2+4=6\n1+3=4\n#### 46")
TEXTS = [
    "First 2 + 2 = 4, so the answer is (B).", "It holds that yes, because no. The answer is: no", "#### 46", "#### 1,234.50",
    "8 * 3 / 1 = 24\nThe answer is 8*3*1", "<answer>(8+1)*3</answer>", "12+34\n2+4=6\n1+3=4\n#### 46", "entailment, not neutral",
]  # fmt: skip


@TIMES
@pytest.mark.parametrize(
    "verifier, observation", [*CASES, (Exact(), SUM), (Scratchpad(), SUM)], ids=lambda x: type(x).__name__
)
def test_verifiers_are_total(verifier: Verifier, observation: Observation, times: int) -> None:
    chance, tried = rng(0, "fuzz", type(verifier).__name__), 200 * times
    short = [text for text in NASTY if len(text) < 2000]
    for _ in range(tried):
        base = chance.choice([*TEXTS, *short])
        text = spoilt(base.encode("utf-8", "surrogatepass"), chance).decode("utf-8", "replace")
        verdict = verifier.judge(observation, text)
        assert isinstance(verdict, Verdict)
        assert not verdict.correct or verdict.answer is not None
        assert verifier.judge(observation, text) == verdict, text
    print(f"{type(verifier).__name__}: {tried} texts")


@TIMES
def test_lines_of_records_are_read_back_or_refused(times: int) -> None:
    rollout = Rollout(
        position=0, id="a", attempt=0, sample=0, hinted=False, text="tä", answer=None, correct=True, how="equal", score=None,
        finish="stop", tokens=3, prompt_tokens=4,
    )  # fmt: skip
    records: list[Record] = [
        rollout, Example(position=0, id="a", prompt="p", completion="c"),
        Score(position=0, attempt=0, sample=0, tokens=3, loss=1.0, brier=0.5), SUM,
    ]  # fmt: skip
    state = IterationState(format=4, iteration=3, predecessor="c", adapter=None, files={"a": "b"}, kept=(1,)).sealed()
    chance, tried, refused = rng(0, "fuzz", "lines"), 2000 * times, 0
    for _ in range(tried):
        record = records[int(chance.integers(len(records)))]
        line = spoilt(record.to_json().encode(), chance).decode("utf-8", "replace")
        try:
            again = type(record).from_json(line)
            assert type(record).from_json(again.to_json()) == again
        except RecordError as error:
            assert len(str(error)) < 2000
            refused += 1
        sealed = spoilt(state.to_json().encode(), chance).decode("utf-8", "replace")
        try:
            assert IterationState.unsealed(sealed).to_json() == state.to_json()
        except RecordError:
            refused += 1
    print(f"records: {2 * tried} lines, {refused} refused")
    assert tried < refused


@TIMES
def test_a_data_file_is_read_or_refused_by_name(tmp_path: Path, times: int) -> None:
    rows = [{"question": f"What is {k} plus 1?", "answer": k + 1, "id": f"q{k}"} for k in range(12)]
    sound = "".join(json.dumps(row) + "\n" for row in rows).encode()
    chance, tried, refused = rng(0, "fuzz", "rows"), 150 * times, 0
    for _ in range(tried):
        path = tmp_path / "my.jsonl"
        path.write_bytes(spoilt(sound, chance))
        try:
            splits = load(File(path=path, id="id", verifier=Exact()))
            assert sum(map(len, splits.values())) <= len(rows) + 8
        except EXPECTED as error:
            assert len(str(error)) < 2000
            refused += 1
    print(f"data files: {tried}, {refused} refused")
    assert refused


@cache
def composed() -> dict[str, Any]:
    return configure(*QUIZ, "iterations=1")


def places(node: Any, path: tuple = ()) -> Iterator[tuple]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for name, child in items:
        yield (*path, name)
        yield from places(child, (*path, name))


JUNK = [None, -1, 10**400, float("nan"), float("inf"), "", "x" * 300, "os.system", "../..", "\x00", [], [[]], {}, {"_target_": 3},
        {"_target_": "os.system"}, {"a": {"b": [None]}}, True, "${x}", 1e-320, {"_target_": "builtins.eval", "x": 1}]  # fmt: skip


@TIMES
def test_a_configuration_is_built_or_refused(times: int) -> None:
    chance, tried, refused = rng(0, "fuzz", "configuration"), 400 * times, 0
    every = list(places(composed()))
    for _ in range(tried):
        tree = deepcopy(composed())
        for _ in range(int(chance.integers(1, 4))):
            *path, last = every[int(chance.integers(len(every)))]
            node: Any = tree
            try:
                for name in path:
                    node = node[name]
                junk = deepcopy(JUNK[int(chance.integers(len(JUNK)))])
                match int(chance.integers(4)):
                    case 0:
                        node[f"{last}x"] = junk
                    case 1:
                        del node[last]
                    case _:
                        node[last] = junk
            except (KeyError, IndexError, TypeError):
                continue  # what was spoilt before is not there any more
        try:
            build(tree)
        except ConfigError as error:
            assert len(str(error)) < 5000
            refused += 1
    print(f"configurations: {tried}, {refused} refused")
    assert refused > tried / 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fuzz") / "run"
    launch(composed(), directory)
    return directory


def same(found: bytes, sound: bytes) -> bool:
    """Whether both are the same JSON: other white space around it changes nothing."""
    try:
        return bool(json.loads(found) == json.loads(sound))
    except ValueError:
        return False


@TIMES
def test_a_run_directory_is_read_or_refused(run: Path, tmp_path: Path, times: int) -> None:
    """The report reads without comparing checksums; what compares them finds everything that was spoilt."""
    names = [
        p.relative_to(run) for p in sorted(run.rglob("*")) if p.is_file() and p.suffix not in (".html", ".lock", "")
    ]
    chance, tried, refused = rng(0, "fuzz", "run"), 60 * times, 0
    directory = Path(shutil.copytree(run, tmp_path / "run"))
    for _ in range(tried):
        name = names[int(chance.integers(len(names)))]
        sound = (run / name).read_bytes()
        found = spoilt(sound, chance)
        (directory / name).write_bytes(found)
        try:
            read(directory)
        except RunError as error:
            assert str(directory) in str(error)
            refused += 1
        if name.parts[0] == "iterations" and name.name != "metrics.json" and found != sound:
            here, there = (RunDirectory(d).iteration(int(name.parts[1])) for d in (directory, run))
            if name.name != "state.json" or not same(found, sound):
                with pytest.raises(RunError, match=name.name):
                    here.verify()
            else:
                assert here.verify() == there.verify()
        if name.name == "checksums.txt" and found != sound:
            try:
                Ledger((directory / name).parent, Disk(), str).check_all(complete=True)
                assert sound.startswith(found), "whole lines may be lost, as the file may: they are entered again"
            except RunError as error:
                assert "checksums" in str(error)
        (directory / name).write_bytes(sound)
    print(f"run directories: {tried}, {refused} refused by the report")
    assert refused
