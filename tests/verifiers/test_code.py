"""Programs run in a process that can only compute: what they may not do fails, and what they claim is not believed."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.records import Observation
from star_loop.stages.load import load
from star_loop.verifiers.code import Code
from star_loop.verifiers.fences import program
from star_loop.verifiers.sandbox import PROBES, Confined, Container, Sandbox, Usual, working
from star_loop.verifiers.sandbox_process import rules
from tests.quiz import configure
from tests.verifiers.test_real_verifiers import NASTY

ASKED = Observation(id="c", question="Double x.", answer="", meta={"tests": "assert double(2) == 4"})
RIGHT = "First try:\n```\nno\n```\nBetter:\n```python\ndef double(x): return 2 * x\n```\nDone."
FIXTURES = Path(__file__).parent.parent / "fixtures"


class Reader(Sandbox):
    """Runs nothing: a program passes that contains a text."""

    wanted: str

    def passes(self, program: str) -> bool:
        return self.wanted in program


@pytest.fixture(scope="module")
def confined() -> Iterator[Confined]:
    sandbox = Confined(timeout=20, processes=2, memory=512)
    yield sandbox
    sandbox._pool.stop()


def test_the_last_block_and_the_tests_go_to_the_sandbox() -> None:
    assert Code(sandbox=Reader(wanted="2 * x\n\nassert double(2) == 4\n")).judge(ASKED, RIGHT).correct
    assert not Code(sandbox=Reader(wanted="no\n")).judge(ASKED, RIGHT).correct
    untested = Observation(id="c", question="?", answer="")
    assert Code(sandbox=Reader(wanted="")).judge(untested, RIGHT).how == "no tests"
    with pytest.raises(ValueError, match=r"c has no tests: task\.verifier\.tests='{tests}'"):
        Code(sandbox=Reader(wanted="")).probe(untested, RIGHT)


PROGRAM = "def double(x):\n    return 2 * x\n"
FENCED = {
    "the output behind it": f"```python\n{PROGRAM}```\nIt prints:\n```text\n4\n```",
    "a plain block behind it": f"```python\n{PROGRAM}```\nIt prints:\n```\n4\n```",
    "a shell's block before it": f"```bash\npip install x\n```\n```python\n{PROGRAM}```",
    "text before no language": f"```text\n4\n```\n```\n{PROGRAM}```",
    "the last of two": f"```python\nno\n```\n```py\n{PROGRAM}```",
    "lines of Windows": f"```python\n{PROGRAM}```\n".replace("\n", "\r\n"),
    "a list": "1. So:\n\n   ```python\n   def double(x):\n       return 2 * x\n   ```\n",
    "the item itself": "- ```python\n  def double(x):\n      return 2 * x\n  ```",
    "an item without indentation": f"- ```python\n{PROGRAM}```",
    "more words": f'```Python title="double.py"\n{PROGRAM}```',
    "braces": f"``` {{.python}}\n{PROGRAM}```",
    "tildes": f"~~~python\n{PROGRAM}~~~",
    "a longer fence": f"````python\n{PROGRAM}````",
    "behind words": f"The answer is ```python\n{PROGRAM}```.\n",
    "a code span": f"Not ```x``` but\n```python\n{PROGRAM}```",
    "an end behind code": f"```python\n{PROGRAM.strip()}```",
    "a block never closed": f"```text\n4\n```python\n{PROGRAM}```",
}


@pytest.mark.parametrize("text", FENCED.values(), ids=FENCED)
def test_the_last_block_of_python_is_the_program(text: str) -> None:
    assert Code(sandbox=Reader(wanted="")).judge(ASKED, text).answer == PROGRAM


def test_a_fence_in_a_docstring_and_the_body_of_a_function_stay_as_they_are() -> None:
    documented = 'def double(x):\n    """\n    ```\n    4\n    ```\n    """\n    return 2 * x\n'
    assert program(f"```python\n{documented}```") == documented
    assert program("```\n    return 2 * x\n```") == "    return 2 * x\n"


@given(st.lists(st.sampled_from(["```", "```python", "~~~", "- ```py", "    x = 1", "y ```", "````", "```text", ""])))
def test_any_fences_give_a_program_of_lines_or_none(lines: list[str]) -> None:
    found = program("\n".join(lines))
    assert found is None or found == "" or found.endswith("\n")


@pytest.mark.parametrize("text", [*NASTY, "```python\n", "```python\n```", "def double(x): return 2 * x"])
def test_without_a_block_there_is_no_answer(text: str) -> None:
    assert Code(sandbox=Reader(wanted="")).judge(ASKED, text).answer is None


def test_a_confined_program_is_refused_all_that_it_may_not_do(confined: Confined) -> None:
    confined.check()
    assert len(PROBES) == 11


@pytest.mark.parametrize(
    "program, ending",
    [
        ("import math, re, random, collections, itertools, heapq\nassert math.sqrt(4) == 2", "passed"),
        (
            "from concurrent.futures import ThreadPoolExecutor as T\nwith T(2) as t: assert sum(t.map(abs, [-1, 2])) == 3",
            "passed",
        ),
        ("from datetime import datetime\nassert datetime.strptime('2020-02-01', '%Y-%m-%d').month == 2", "passed"),
        ("if __name__ == '__main__': 1 / 0", "passed"),
        ("print('x' * 10**6)", "passed"),
        ("assert 1 == 2", "raised AssertionError"),
        ("def f(: pass", "raised SyntaxError"),
        ("input()", "raised EOFError"),
        ("import sys\nsys.exit(0)", "raised SystemExit"),
        ("import os\nos.abort()", "ended"),
        ("class ended(Exception): pass\nraise ended", "raised ended"),
        ("raise type('passed', (BaseException,), {})", "raised passed"),
        ("raise type('too long', (SystemExit,), {})", "raised too long"),
        ("raise type('x' * 200, (Exception,), {})", f"raised {'x' * 93}"),
        ("class Meta(type): __name__ = 'passed'\nclass E(Exception, metaclass=Meta): pass\nraise E", "raised passed"),
        (
            "class Meta(type): __name__ = property(lambda c: 1 / 0)\nclass E(Exception, metaclass=Meta): pass\nraise E",
            "ended",
        ),
        ("import numpy", "raised ModuleNotFoundError"),
        ("x = [0] * 10**10", "raised MemoryError"),
        ("def f(): return f()\nf()", "raised RecursionError"),
        ("open('made', 'w')", "raised PermissionError"),
        ("import os\nos.unlink('made')", "raised PermissionError"),
        ("import os\nos.symlink('a', 'b')", "raised PermissionError"),
        ("import os\nos.pidfd_open(os.getppid())", "raised PermissionError"),
        ("import os\nos.memfd_create('x')", "raised PermissionError"),
        (
            "import ctypes\nc = ctypes.CDLL(None)\nassert c.syscall(425, 8, 0) == -1 and c.ptrace(0, 0, 0, 0) == -1",
            "passed",
        ),
        ("\ud800", "raised UnicodeEncodeError"),
        ("", "passed"),
    ],
)
def test_a_program_ends_as_it_should(confined: Confined, program: str, ending: str) -> None:
    assert confined.ending(program) == ending
    assert not Path("made").exists()


USES = {
    "annotations": "from __future__ import annotations\ndef f(x: Later) -> Later: return x\nassert f(2) == 2",
    "an order": "from graphlib import TopologicalSorter as T\nassert [*T({2: [1], 3: [2]}).static_order()] == [1, 2, 3]",
    "a context": "from contextvars import ContextVar\nx = ContextVar('x', default=2)\nassert x.get() == 2",
    "words of a shell": "import shlex\nassert shlex.split('a \"b c\"') == ['a', 'b c']",
    "HTML": "from html.parser import HTMLParser\np = HTMLParser()\np.feed('<b>x</b>')\nassert p.rawdata == ''",
    "XML": "import xml.etree.ElementTree as E\nassert E.tostring(E.fromstring('<a><b/></a>')) == b'<a><b /></a>'",
    "a document": "from xml.dom import minidom\nassert minidom.parseString('<a/>').documentElement.tagName == 'a'",
    "settings": "from configparser import ConfigParser as P\np = P()\np.read_string('[a]\\nb=1')\nassert p['a']['b'] == '1'",
    "TOML": "import tomllib\nassert tomllib.loads('a = 1') == {'a': 1}",
    "options": "import getopt, optparse\nassert getopt.getopt(['-a'], 'a') == ([('-a', '')], [])",
    "colours": "import colorsys\nassert colorsys.rgb_to_hsv(1, 0, 0) == (0.0, 1.0, 1)",
    "a schedule": "import sched\ns = sched.scheduler()\ns.enter(0, 1, print)\ns.run()\nassert s.empty()",
    "examples": 'import doctest\ndef f():\n    """\n    >>> 1 + 1\n    2\n    """\n'
    "assert doctest.testmod(__import__('program')).attempted == 1",
    "a copy": "import pickle\nassert pickle.loads(pickle.dumps([1, {2}])) == [1, {2}]",
    "what is packed": "import gzip\nassert gzip.decompress(gzip.compress(b'x')) == b'x'",
    "names of domains": "assert 'é.de'.encode('idna') == b'xn--9ca.de' and b'xn--9ca'.decode('idna') == 'é'",
    "encodings": "for c in 'cp1252 cp437 iso8859-15 utf-7 utf-8-sig utf-16-le utf-32 punycode'.split():\n"
    "    assert 'aé'.encode(c).decode(c) == 'aé', c",
    "a cipher": "import codecs\nassert codecs.encode('abc', 'rot13') == 'nop' and codecs.decode('61', 'hex') == b'a'",
    "escapes": "assert '\\\\n'.encode().decode('unicode_escape') == '\\n'",
}


@pytest.mark.parametrize("program", USES.values(), ids=USES)
def test_what_programs_use_of_python_s_library_is_there(confined: Confined, program: str) -> None:
    assert confined.ending(program) == "passed"


def test_what_never_ends_is_killed_with_its_threads_and_the_next_one_runs() -> None:
    sandbox = Confined(timeout=0.5, processes=1)
    thread = "import threading\nthreading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()\n"
    assert sandbox.ending(f"{thread}while True: pass") == "too long"
    assert sandbox.passes("x = 1")
    sandbox._pool.stop()


@pytest.mark.parametrize("kind", ["Confined", "Container", "Usual"])
@pytest.mark.parametrize("key, value", [("timeout", 0.001), ("timeout", 1e12), ("memory", 8), ("memory", 10**14)])
def test_a_time_or_a_memory_that_no_program_can_have_is_refused_by_its_key(kind: str, key: str, value: float) -> None:
    keys = [
        f"task.verifier.sandbox._target_=star_loop.verifiers.sandbox.{kind}",
        f"task.verifier.sandbox.{key}={value}",
    ]
    with pytest.raises(ConfigError, match=rf"task\.verifier\.sandbox\.{key}"):
        build(configure("experiment=smoke", "task=mbpp", *keys))


def test_the_shortest_time_and_the_least_memory_are_not_the_machine_s_fault() -> None:
    sandbox = Confined(timeout=0.1, memory=64, processes=1)
    sandbox.check()
    sandbox._pool.stop()


def test_the_environment_does_not_reach_a_program(confined: Confined) -> None:
    assert confined.passes("import os\nassert not any('TOKEN' in name or name == 'HOME' for name in os.environ)")


def test_several_verdicts_at_once_come_in_their_order(confined: Confined) -> None:
    texts = [RIGHT if k % 3 else RIGHT.replace("2 * x", "3 * x") for k in range(12)]
    verdicts = Code(sandbox=confined).judge_all([(ASKED, text) for text in texts])
    assert [verdict.correct for verdict in verdicts] == [bool(k % 3) for k in range(12)]
    assert {verdict.how for verdict in verdicts} == {"passed (marker)", "raised AssertionError (marker)"}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_jumps_within_itself(machine: str) -> None:
    code = rules(machine, 1)
    lines = [code[k : k + 8] for k in range(0, len(code), 8)]
    assert len(lines) < 4096
    for place, line in enumerate(lines):
        if line[0] & 7 == 5:  # a jump
            assert place + 1 + max(line[2:4]) < len(lines)
    assert lines[-1][0] == 6, "it ends with a verdict"


def test_where_nothing_can_be_confined_it_refuses_and_says_what_to_do() -> None:
    from star_loop.processes.kept import KeptPool, KeptProcess

    sandbox = Confined(processes=1)

    script = "import sys\nprint('\"ready\"', flush=True)\nfor line in sys.stdin: print('\"KeyError\"', flush=True)"
    other = KeptProcess((sys.executable, "-c", script))
    sandbox.__dict__["_pool"] = KeptPool([other])
    with pytest.raises(ValueError, match=r"no program can be confined on this machine .*sandbox\.Container"):
        sandbox.check()
    other.stop()


class Leaky(Sandbox):
    """Keeps nothing apart."""

    def check(self) -> None:
        raise ValueError("it leaks")

    def passes(self, program: str) -> bool:
        return True


def test_containers_take_over_where_nothing_can_be_confined(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    container = Reader(wanted="x")
    with caplog.at_level(logging.INFO):
        assert working(Leaky(), container) is container
    assert "programs run in a Reader: it leaks" in caplog.text
    assert working(container, Leaky()) is container
    with pytest.raises(ValueError, match=r"it leaks \(tried: .*there is neither docker nor podman"):
        working(Leaky(), Container())


def test_the_usual_sandbox_is_the_confined_one_here() -> None:
    usual = Usual(processes=2, timeout=9)
    usual.check()
    assert (usual.at_once, usual.ending("open('x')"), usual.passes("x = 1")) == (2, "raised PermissionError", True)
    assert usual._found == Confined(timeout=9, processes=2)
    usual._found._pool.stop()


@pytest.mark.parametrize("name", ["mbpp", "humaneval"])
def test_files_of_programs_are_read_and_their_golds_pass(name: str) -> None:
    keys = ["task.validation_split=null", "task.validation_size=2", "task.test_size=2"]
    task = build(configure("experiment=smoke", f"task={name}", f"task.path={FIXTURES / f'{name}.jsonl'}", *keys)).task
    splits = load(task)
    observations = [o for split in splits.values() for o in split]
    rows = [json.loads(line) for line in (FIXTURES / f"{name}.jsonl").read_text().splitlines()]
    assert sorted(o.answer for o in observations) == sorted(row[task.answer] for row in rows), "golds as written"
    assert task.verifier.judge(observations[0], "```python\npass\n```").how != "passed (marker)"


def test_a_body_completes_its_prompt_as_well_as_a_whole_function(confined: Confined) -> None:
    row = json.loads((FIXTURES / "humaneval.jsonl").read_text().splitlines()[0])
    asked = Observation(id="h", question=row["prompt"], answer=row["canonical_solution"], meta={"row": row})
    code = Code(sandbox=confined, before="{prompt}", tests="{test}\ncheck({entry_point})")
    for block in (
        row["canonical_solution"],
        row["prompt"] + row["canonical_solution"],
        "def triple(x): return x + x + x",
    ):
        assert code.judge(asked, f"```python\n{block}\n```").correct
    assert not code.judge(asked, "```python\n    return 2 * x\n```").correct


STRUCTURES = {
    "a dictionary": {"inputs": ["1"], "outputs": ["2"]},
    "a list of lists": [["assert double(1) == 2"]],
    "a list of dictionaries": [{"input": 1, "output": 2}],
    "an empty place": ["assert double(1) == 2", None],
}


@pytest.mark.parametrize("tests", STRUCTURES.values(), ids=STRUCTURES)
def test_tests_that_are_no_lines_of_python_are_refused_by_their_column(confined: Confined, tests: object) -> None:
    asked, code = replace(ASKED, meta={"tests": tests}), Code(sandbox=confined)
    says = r"^c: task\.verifier\.tests='{tests}': column tests is no text and no list of texts, but holds .*assert f"
    with pytest.raises(ConfigError, match=says):
        code.probe(asked, RIGHT)
    assert (code.judge(asked, RIGHT).correct, code.judge(asked, RIGHT).how) == (False, "no tests")
    with pytest.raises(ConfigError, match=r"task\.verifier\.before='{tests}': column tests is no text"):
        Code(sandbox=confined, before="{tests}", tests="assert double(1) == 2").probe(asked, RIGHT)


NOTHING = {
    "a comment": ("", "# TODO"),
    "data as a text": ("", '{"inputs": ["1"], "outputs": ["2"]}'),
    "a number": ("", 4),
    "a function that is never called": ("", "def check(candidate):\n    assert candidate(1) == 2"),
    "a function that asserts nothing": ('def double(x):\n    """Twice."""', "def check(f):\n    f(1)\ncheck(double)"),
    "what stands behind an end": ("", "if __name__ == '__main__':\n    assert double(1) == 2"),
    "what follows a head without a body": ("def double(x):", "# TODO"),
}


@pytest.mark.parametrize("before, tests", NOTHING.values(), ids=NOTHING)
def test_tests_that_an_empty_program_passes_are_refused(confined: Confined, before: str, tests: object) -> None:
    asked = replace(ASKED, meta={"before": before, "tests": tests})
    code = Code(sandbox=confined, before="{before}")
    for text in (RIGHT, ""):
        with pytest.raises(ConfigError, match=r"^c: its tests test nothing, for an empty program passes them: .*leave"):
            code.probe(asked, text)


def test_numbers_fill_in_tests_and_each_row_is_tried(confined: Confined) -> None:
    code = Code(sandbox=confined, tests="assert double({x}) == {twice}")
    assert code.probe(replace(ASKED, meta={"x": 2, "twice": 4}), RIGHT).correct
    assert not code.probe(replace(ASKED, meta={"x": 2, "twice": 5}), RIGHT).correct
    with pytest.raises(ConfigError, match="no text"):
        code.probe(replace(ASKED, meta={"x": {}, "twice": 4}), RIGHT)


@pytest.mark.parametrize("tests", ["# TODO", {"inputs": ["1"]}])
def test_a_launch_ends_at_a_row_whose_tests_test_nothing(tmp_path: Path, tests: object) -> None:
    asked = [{"question": f"Add {k}.", "answer": f"def f(x): return x + {k}"} for k in range(9)]
    rows = [{**row, "tests": f"assert f(1) == {1 + k}" if k < 8 else tests} for k, row in enumerate(asked)]
    (tmp_path / "p.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    keys = ["task.verifier=code", "task.validation_size=1", "task.test_size=1", f"task.path={tmp_path / 'p.jsonl'}"]
    with pytest.raises(ConfigError, match=r"^train/0000008: "):
        load(build(configure("experiment=smoke", "task=file", *keys)).task)


RUNTIME = """#!{python}
import subprocess, sys
options, rest = [a for a in sys.argv[2:] if a.startswith("-")], [a for a in sys.argv[2:] if not a.startswith("-")]
assert sys.argv[1] == "run" and {{"--network=none", "--read-only", "--cap-drop=ALL", "--pull=never"}} <= set(options)
image, timeout, seconds, python = rest
sys.exit(125 if image != "python:3.12-slim" else subprocess.run([sys.executable, "-I", "-"], timeout=float(seconds)).returncode)
"""


def test_a_container_runs_the_program_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime is a script that holds its options to what is promised, and runs Python."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="there is neither docker nor podman on this machine"):
        Container().check()
    with pytest.raises(ValueError, match="there is no podman on this machine"):
        Container(runtime="podman").check()
    (tmp_path / "docker").write_text(RUNTIME.format(python=sys.executable))
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    Container().check()
    assert not Container().passes("import os\nos._exit(0)")
    assert not Container().passes("1 / 0")
    with pytest.raises(ValueError, match="does not run Python in no-such:image"):
        Container(image="no-such:image").check()
    (tmp_path / "docker").rename(tmp_path / "podman")
    Container().check()
