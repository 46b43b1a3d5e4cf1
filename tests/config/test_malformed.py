"""A corpus of malformed inputs. Each is refused with one message that names it, before anything was changed.

Data files and configurations; model folders and adapters are in `test_damaged_models.py`, run directories in
`test_damaged_runs.py`.
"""

import csv
import io
import json
import os
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from omegaconf import OmegaConf

from star_loop.config.build import build
from star_loop.config.hydra import CONF
from star_loop.errors import ConfigError
from star_loop.generators.pool import Pool
from star_loop.launch import EXPECTED
from star_loop.records import Example, Observation, RecordError, Rollout, Score
from star_loop.stages.load import load
from star_loop.tasks.file import File
from tests.quiz import QUIZ, configure

# -------------------------------------------------------------------------------------------------- rows of a file

GOOD = [{"question": f"What is {k} plus 1?", "answer": k + 1, "c": ["a", "b"], "n": [k, 1]} for k in range(30)]
DEEP = b"[" * 200_000
DIGITS = b"9" * 5000

LINES = {
    "cut off": b'{"question": "x", "ans',
    "only a brace": b"{",
    "a list": b"[]",
    "a number": b"3",
    "a text": b'"x"',
    "null": b"null",
    "no value": b'{"question": "x", "answer": }',
    "python's quotes": b"{'question': 'x', 'answer': 1}",
    "one brace more": b'{"question": "x", "answer": 1}}',
    "two on a line": b'{"question": "x", "answer": 1} {"question": "y", "answer": 2}',
    "latin-1": '{"question": "größer?", "answer": 1}'.encode("latin-1"),
    "utf-16": '{"question": "x", "answer": 1}'.encode("utf-16"),
    "a zero byte": b"\x00",
    "a control character": b'{"question": "a\x01b", "answer": 1}',
    "half a surrogate pair": b'{"question": "x\\ud800", "answer": 1}',
    "200,000 brackets": DEEP,
    "5,000 digits": b'{"question": "x", "answer": ' + DIGITS + b"}",
    "10 MB without an end": b'{"question": "' + b"x" * 10_000_000,
    "nothing in it": b"{}",
    "no answer": b'{"question": "x"}',
    "no question": b'{"answer": 1}',
    "question is null": b'{"question": null, "answer": 1}',
    "question is empty": b'{"question": "", "answer": 1}',
    "question is blank": b'{"question": " \\n\\t", "answer": 1}',
    "question is a list": b'{"question": ["x"], "answer": 1}',
    "question is an object": b'{"question": {"stem": "x"}, "answer": 1}',
    "answer is null": b'{"question": "x", "answer": null}',
    "answer is empty": b'{"question": "x", "answer": ""}',
    "answer is a list": b'{"question": "x", "answer": [1, 2]}',
    "answer is an object": b'{"question": "x", "answer": {"value": 1}}',
    "answer is NaN": b'{"question": "x", "answer": NaN}',
    "answer is infinite": b'{"question": "x", "answer": Infinity}',
    "answer is -infinite": b'{"question": "x", "answer": -Infinity}',
    "answer overflows": b'{"question": "x", "answer": 1e999}',
    "nothing behind ####": b'{"question": "x", "answer": "I think so.\\n####"}',
    "an open box": b'{"question": "x", "answer": "so \\\\boxed{"}',
}


@pytest.mark.parametrize("at", [0, 17])
@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_line_that_is_no_question_is_named(tmp_path: Path, line: bytes, at: int) -> None:
    lines = [json.dumps(row).encode() for row in GOOD]
    lines[at] = line
    (tmp_path / "my.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(EXPECTED, match=rf"my\.jsonl, line {at + 1}\b") as error:
        load(File(path=tmp_path / "my.jsonl"))
    assert len(str(error.value)) < 1000


CELLS = {
    "no options": ("c", [], {"choices": "c"}),
    "one option": ("c", ["a"], {"choices": "c"}),
    "27 options": ("c", [str(k) for k in range(27)], {"choices": "c"}),
    "options are null": ("c", None, {"choices": "c"}),
    "options are a number": ("c", 3, {"choices": "c"}),
    "an option is null": ("c", ["a", None], {"choices": "c"}),
    "an option is a list": ("c", ["a", ["b"]], {"choices": "c"}),
    "options are cut-off JSON": ("c", '["a", "b', {"choices": "c"}),
    "options are 200,000 brackets": ("c", DEEP.decode(), {"choices": "c"}),
    "options are prose": ("c", "neither this nor that", {"choices": "c"}),
    "an option that is not there": ("answer", 99, {"choices": "c"}),
    "an option before the first": ("answer", -1, {"choices": "c"}),
    "a level of 12 digits": ("l", 10**12, {"level": "l"}),
    "a level of 5,000 digits": ("l", DIGITS.decode(), {"level": "l"}),
    "a level that is a list": ("l", [1], {"level": "l"}),
    "a skill that is a list": ("s", ["a"], {"skill": "s"}),
    "a skill that is null": ("s", None, {"skill": "s"}),
    "a rationale that is a list": ("r", ["a"], {"rationale": "r"}),
    "an id that is null": ("i", None, {"id": "i"}),
    "an id that is an object": ("i", {"a": 1}, {"id": "i"}),
    "numbers that are words": ("n", "one two", {"numbers": "n"}),
    "numbers that are empty": ("n", [], {"numbers": "n"}),
    "numbers that are not whole": ("n", [1.5, 2], {"numbers": "n"}),
    "numbers that are texts": ("n", ["1", "2"], {"numbers": "n"}),
    "a number of 5,000 digits": ("n", "1 " + DIGITS.decode(), {"numbers": "n"}),
    "a column of a template that is null": ("x", None, {"question": "{x}?"}),
    "a column of a template that is NaN": ("x", float("nan"), {"question": "{x}?"}),
    "a column of a template that is an object": ("x", {"a": 1}, {"question": "{x}?"}),
    "a column of a template that is not there": ("y", 1, {"question": "{x}?"}),
}


@pytest.mark.parametrize(("column", "value", "keys"), CELLS.values(), ids=CELLS)
def test_a_cell_that_is_not_what_its_column_holds_is_named(tmp_path: Path, column: str, value: Any, keys: Any) -> None:
    sound = {"s": "sums", "l": 1, "r": "", "x": "What", **({"answer": 1} if "choices" in keys else {})}
    rows = [{**row, **sound, "i": f"q{k}", "x": f"What {k}"} for k, row in enumerate(GOOD)]
    rows[11][column] = value
    if column == "y":
        del rows[11]["x"]
    (tmp_path / "my.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(EXPECTED, match=r"my\.jsonl, line 12, column '\w+'") as error:
        load(File(path=tmp_path / "my.jsonl", **keys))
    assert len(str(error.value)) < 1000


def table(**changes: Any) -> bytes:
    """A Parquet file of the good rows."""
    sink = io.BytesIO()
    columns = {"question": [row["question"] for row in GOOD], "answer": [str(row["answer"]) for row in GOOD]} | changes
    parquet.write_table(arrow.table(columns), sink)
    return sink.getvalue()


def comma_separated(header: str = "question,answer", **replaced: str) -> bytes:
    lines = [header, *(f"{row['question']},{row['answer']}" for row in GOOD)]
    for place, line in replaced.items():
        lines[int(place.removeprefix("line")) - 1] = line
    return ("\n".join(lines) + "\n").encode()


NOT_UTF8 = arrow.Array.from_buffers(
    arrow.string(), 30, [None, arrow.py_buffer(b"".join(k.to_bytes(4, "little") for k in range(31))), arrow.py_buffer(b"\xff" * 30)]
)  # fmt: skip

FILES = {
    "empty.jsonl": b"",
    "blank.jsonl": b"\n \n\t\n",
    "only_a_bom.jsonl": b"\xef\xbb\xbf",
    "utf16.jsonl": "\n".join(map(json.dumps, GOOD)).encode("utf-16"),
    "binary.jsonl": bytes(range(256)) * 40,
    "a_list.jsonl": json.dumps(GOOD, indent=1).encode(),
    "empty.json": b"",
    "blank.json": b"  ",
    "cut.json": json.dumps(GOOD).encode()[:-40],
    "lines.json": b"\n".join(json.dumps(row).encode() for row in GOOD),
    "no_row.json": b"[]",
    "nobody.json": b'{"data": []}',
    "numbers.json": b"[1, 2, 3]",
    "nulls.json": b"[null]",
    "an_object.json": b'{"question": "x", "answer": 1}',
    "a_text.json": b'"x"',
    "deep.json": DEEP,
    "digits.json": b"[" + DIGITS + b"]",
    "latin1.json": json.dumps([{"question": "ä", "answer": 1}], ensure_ascii=False).encode("latin-1"),
    "empty.csv": b"",
    "blank.csv": b"\n\n",
    "only_a_bom.csv": b"\xef\xbb\xbf",
    "only_a_header.csv": b"question,answer\n",
    "short_row.csv": comma_separated(line9="What?"),
    "long_row.csv": comma_separated(line9="What, or why?,1"),
    "no_cells.csv": comma_separated(line9=","),
    "no_answer.csv": comma_separated(line9="What?,"),
    "open_quote.csv": comma_separated(line9='"What?,1'),
    "stray_quote.csv": comma_separated(line9='"Wh"at?,1'),
    "last_cut.csv": comma_separated()[:-3],
    "twice.csv": comma_separated("answer,answer"),
    "no_names.csv": comma_separated(","),
    "other_names.csv": comma_separated("frage,antwort"),
    "semicolons.csv": comma_separated().replace(b",", b";"),
    "tabs.csv": comma_separated().replace(b",", b"\t"),
    "commas.tsv": comma_separated(),
    "latin1.csv": comma_separated(line9="größer?,1").decode().encode("latin-1"),
    "utf16.csv": comma_separated().decode().encode("utf-16"),
    "old_mac.csv": comma_separated().replace(b"\n", b"\r"),
    "empty.parquet": b"",
    "text.parquet": b"question,answer\n",
    "magic_only.parquet": b"PAR1PAR1",
    "cut.parquet": table()[:-20],
    "cut_in_half.parquet": table()[: len(table()) // 2],
    "no_footer.parquet": table()[:-8],
    "zeros.parquet": b"PAR1" + bytes(2000) + b"PAR1",
    "spoilt_footer.parquet": table()[:-60] + bytes(50) + table()[-10:],
    "no_row.parquet": table(question=[], answer=[]),
    "no_answer.parquet": table(answer=[None] * 30),
    "no_question.parquet": table(question=[None] * 30),
    "nan.parquet": table(answer=[float("nan")] * 30),
    "lists.parquet": table(answer=[[1, 2]] * 30),
    "objects.parquet": table(question=[{"a": "b"}] * 30),
    "bytes.parquet": table(question=[b"\xff\xfe"] * 30),
    "not_utf8.parquet": table(question=NOT_UTF8),
    "other.xlsx": b"PK",
    "no_ending": b"{}",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_what_it_seems_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    with pytest.raises(EXPECTED, match=name) as error:
        load(File(path=tmp_path / name))
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("key", ["validation_path", "test_path", "exemplars"])
@pytest.mark.parametrize("name", ["blank.jsonl", "cut.json", "only_a_header.csv", "cut.parquet", "other.xlsx"])
def test_so_is_one_that_is_measured_with_or_shown(tmp_path: Path, key: str, name: str) -> None:
    (tmp_path / "my.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GOOD))
    (tmp_path / name).write_bytes(FILES[name])
    with pytest.raises(EXPECTED, match=name):
        File(path=tmp_path / "my.jsonl", **{key: tmp_path / name}).check()


@pytest.mark.parametrize(
    "name", ["blank.jsonl", "a_list.jsonl", "cut.json", "numbers.json", "only_a_header.csv", "cut.parquet"]
)
def test_so_is_one_that_a_pool_draws_from(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    with pytest.raises(EXPECTED, match=name):
        Pool(path=tmp_path / name).check()


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "nowhere")
    for name, said in (
        ("folder.jsonl", "is a folder"),
        ("dangling.jsonl", "there is no"),
        ("nowhere.jsonl", "there is no"),
    ):
        with pytest.raises(ValueError, match=rf"task\.path: (?=.*{said}).*{name}"):
            File(path=tmp_path / name).check()
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(ValueError, match=r"pipe\.jsonl is a pipe or a device"):
        File(path=tmp_path / "pipe.jsonl").check()


def test_what_can_be_read_is_read(tmp_path: Path) -> None:
    """The corpus above proves something only if its sound neighbours pass."""
    lines = [json.dumps(row) for row in GOOD]
    lines[3] = json.dumps({"question": "x" * 10_000_000, "answer": 1})
    sound = {
        "huge_cell.csv": comma_separated(line9="x" * 200_000 + ",1"),
        "bom.jsonl": b"\xef\xbb\xbf" + "\n".join(lines).encode(),
        "windows.jsonl": "\r\n\r\n".join(lines).encode(),
        "rows.json": json.dumps({"rows": GOOD}).encode(),
        "bom.csv": b"\xef\xbb\xbf" + comma_separated(),
        "windows.csv": comma_separated().replace(b"\n", b"\r\n"),
        "rows.parquet": table(),
    }
    for name, data in sound.items():
        (tmp_path / name).write_bytes(data)
        assert sum(map(len, load(File(path=tmp_path / name)).values())) == len(GOOD), name


def test_rows_that_cannot_be_kept_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, rows in (("train", [*GOOD, GOOD[0]]), ("test", GOOD[:4])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    caplog.set_level("INFO")
    splits = load(File(path=tmp_path / "train.jsonl", test_path=tmp_path / "test.jsonl"))
    assert len(splits["train"]) + len(splits["validation"]) == 26
    assert "train: left out, same text as a held-out one" in caplog.text


def test_an_id_that_comes_twice_is_named(tmp_path: Path) -> None:
    rows = [{**row, "i": f"q{k // 2}"} for k, row in enumerate(GOOD)]
    (tmp_path / "my.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=r"duplicate id 'q\d+'"):
        load(File(path=tmp_path / "my.jsonl", id="i", validation_size=1, test_size=1))


def test_csv_written_by_others_is_read_as_they_meant_it(tmp_path: Path) -> None:
    with (tmp_path / "my.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["question", "answer"], *[[f'a "b", {k}\nc', k] for k in range(30)]])
    assert sum(map(len, load(File(path=tmp_path / "my.csv")).values())) == 30


# ---------------------------------------------------------------------------------------------------- configurations


@cache
def composed(*overrides: str) -> dict[str, Any]:
    return configure(*QUIZ, *overrides)


def option_files() -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, content) of the files under conf/ that name components."""
    for path in sorted(CONF.rglob("*.yaml")):
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
        group = path.parent.name
        if {"debug", "experiment", "hydra", "tune"} & set(path.relative_to(CONF).parts) or content is None:
            continue
        content = {name: part for name, part in content.items() if name not in ("defaults", "hydra")}
        if path.read_text().startswith("# @package _global_"):
            content, group = content["model"], "model"
        yield ("" if path.parent == CONF else f"tracker.{path.stem}" if group == "tracker" else group), content


def components(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """(key, fields) of every component in a part of a configuration."""
    if isinstance(node, dict):
        if "_target_" in node:
            module, _, name = node["_target_"].rpartition(".")
            yield key, getattr(import_module(module), name).model_fields
        for name, child in node.items():
            yield from components(f"{key}.{name}" if key else name, child)


WRONG = {"never": ["so"]}
ANYTHING = {"engine_kwargs", "extra_body", "config", "template_arguments", "peft", "sft"}
"""Keys that hold whatever somebody else's constructor or template takes; it is asked when its part is checked."""
SIGNED = {"hint", "rate", "tau", "seed", "threshold"}
"""Numbers below zero that mean something."""
NUMBERS = ("<class 'int'>", "<class 'float'>", "int | None", "float | None")
CASES = {
    f"{key}.{name}={value} {number}": (key, content, name, value)
    for number, (part, content) in enumerate(option_files())
    for key, fields in components(part, content)
    for name, field in fields.items()
    for value in [
        *([] if name in ANYTHING else ["WRONG"]),
        *(["-1000000000.5"] if str(field.annotation) in NUMBERS and name not in SIGNED else []),
        *(["nan"] if str(field.annotation) in NUMBERS else []),
    ]
}


@pytest.mark.parametrize(("key", "content", "name", "value"), CASES.values(), ids=CASES)
def test_a_value_that_its_key_cannot_have_is_named(key: str, content: Any, name: str, value: str) -> None:
    tree, content = deepcopy(composed()), deepcopy(content)
    group, *inner = key.split(".")
    if group in content:
        content = content[group]
    if group == "tracker":
        content, inner = {inner[0]: content}, inner
    tree[group] = content
    node = content
    for step in inner:
        node = node[step]
    node[name] = WRONG if value == "WRONG" else float(value)
    with pytest.raises(ConfigError, match=rf"(?m)^{key}\.{name}\b"):
        build(tree)


@pytest.mark.parametrize("target", [
    "", "os", "os.system", "builtins.eval", "builtins.print", "subprocess.Popen", "nowhere.Thing", "star_loop.nowhere.Thing",
    "star_loop.records.Rollout", "star_loop.config.component.Component", "star_loop.samplers.uniform.Nobody", "a b.c", "..", 3, None,
    [], {},
])  # fmt: skip
@pytest.mark.parametrize("group", ["sampler", "task", "trainer"])
def test_a_target_that_is_no_component_of_this_kind_is_named(group: str, target: Any) -> None:
    with pytest.raises(ConfigError, match=rf"(?m)^{group}\b"):
        build(deepcopy(composed()) | {group: {"_target_": target}})


@pytest.mark.parametrize("value", [None, 3, "uniform", [], {}, [{"_target_": "star_loop.samplers.uniform.Uniform"}]])
@pytest.mark.parametrize(
    "group", ["sampler", "task", "schedule", "evaluation", "model", "allocator", "generator", "trainer"]
)
def test_a_part_that_is_no_component_is_named(group: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"(?m)^{group}\b"):
        build(deepcopy(composed()) | {group: value})


# ---------------------------------------------------------------------------------------------------- rows of a run

ROW = Rollout(
    position=0, id="a", attempt=0, sample=0, hinted=False, text="t", answer=None, correct=True, how="equal", score=None,
    finish="stop", tokens=3, prompt_tokens=4,
)  # fmt: skip
RECORDS = {
    "rollout": ROW,
    "example": Example(position=0, id="a", prompt="p", completion="c"),
    "score": Score(position=0, attempt=0, sample=0, tokens=3, loss=1.0, brier=0.5),
    "observation": Observation(id="a", question="q", answer="1", choices=("x", "y"), level=2),
}
FIELDS = [(name, field) for name, record in RECORDS.items() for field in json.loads(record.to_json())]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_record_with_a_field_of_another_type_is_refused(name: str, field: str) -> None:
    kind, row = type(RECORDS[name]), json.loads(RECORDS[name].to_json())
    assert kind.from_json(json.dumps(row)).to_json() == RECORDS[name].to_json()
    with pytest.raises(RecordError, match=field):
        kind.from_json(json.dumps({key: value for key, value in row.items() if key != field}))
    for wrong in (float("nan"), [[]] if field != "choices" else "xy", {"a": 1} if field != "meta" else 1):
        with pytest.raises(RecordError, match=field):
            kind.from_json(json.dumps(row | {field: wrong}))
