"""A stranger's odd files: each loads as a person would read it, or ends in one message that says what to write."""

import json
from pathlib import Path
from typing import Any

import pytest

from star_loop.tasks import lines
from star_loop.tasks.file import File
from star_loop.tasks.rows import Rows
from star_loop.tasks.table import Memory, stored

ROWS = [{"question": f"What is {k} + 1?", "answer": str(k + 1)} for k in range(12)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "question,answer\n" + "".join(f"{row['question']},{row['answer']}\n" for row in ROWS)
TSV = CSV.replace(",", "\t")
PANDAS = {name: {str(k): row[name] for k, row in enumerate(ROWS)} for name in ("question", "answer")}

READ: dict[str, bytes] = {
    "upper case.JSONL": LINES.encode(),
    "with a byte-order mark.jsonl": b"\xef\xbb\xbf" + LINES.encode(),
    "windows.csv": CSV.replace("\n", "\r\n").encode("utf-8-sig"),
    "quoted.csv": CSV.replace("What is 3 + 1?", '"What is 3 + 1?"').encode(),
    "Upper.CSV": CSV.encode(),
    "tabs.tsv": TSV.encode(),
    "blank lines.csv": CSV.replace("\nWhat is 5", "\n\n\nWhat is 5").encode(),
    "list.json": json.dumps(ROWS, indent=2).encode(),
    "named list.json": json.dumps({"data": ROWS}).encode(),
    "list beside facts.json": json.dumps({"version": "1.1", "data": ROWS, "authors": ["me"]}).encode(),
    "columns.json": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}).encode(),
    "pandas.json": json.dumps(PANDAS).encode(),
    "rows by name.json": json.dumps({f"row-{k}": row for k, row in enumerate(ROWS)}).encode(),
    "answers in lists.jsonl": "".join(json.dumps(row | {"answer": [row["answer"]]}) + "\n" for row in ROWS).encode(),
    "numbers.jsonl": "".join(json.dumps(row | {"answer": float(row["answer"])}) + "\n" for row in ROWS).encode(),
    "more columns.csv": CSV.replace("\n", ',"a ""quoted"" note"\n').replace('answer,"a ""quoted"" note"', "answer,n", 1).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_file_that_a_person_can_read_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(READ[name])
    task = File(path=tmp_path / name)
    task.check()
    found = list(Rows(task, "train", task._tables["train"]))
    assert [(o.question, o.answer) for o in found] == [(row["question"], row["answer"]) for row in ROWS]


REFUSED: dict[str, tuple[bytes, str]] = {
    "semicolons.csv": (CSV.replace(",", ";").encode(), r"separated by semicolons \(';'\), not by commas: save it with comm"),
    "quoted semicolons.csv": (b'"question";"answer"\n"How many, in all?";4\n', r"separated by semicolons \(';'\)"),
    "half quoted.csv": (b'q;a\n"How many, in all?";4\n', r"separated by semicolons \(';'\)"),
    "old mac.csv": (b"question,answer\r1,2\r", r"its lines end in carriage returns alone: save it with line feeds"),
    "long.jsonl": (b'{"question": "a", "answer": ' + b"7" * 5000 + b"}\n", r"line 1: .*\(a number of thousands of digits\)"),
    "tabs.csv": (TSV.encode(), r"separated by tabs \('\\t'\), not by commas: name it \.tsv"),
    "commas.tsv": (CSV.encode(), r"separated by commas \(','\), not by tabs: name it \.csv"),
    "bars.csv": (CSV.replace(",", "|").encode(), r"separated by bars \('\|'\)"),
    "excel.csv": (CSV.encode("utf-16"), r"not CSV in UTF-8"),
    "latin.csv": (CSV.replace("What", "Què").encode("latin-1"), r"not CSV in UTF-8"),
    "a list.jsonl": (json.dumps(ROWS).encode(), r"line 1: expected a JSON object.*is named \.json"),
    "pretty.jsonl": (json.dumps(ROWS, indent=1).encode(), r"line 1, column 1: not JSON.*is named \.json"),
    "lines.json": (LINES.encode(), r"not JSON.*for one object per line, name the file \.jsonl"),
    "two splits.json": (json.dumps({"train": ROWS, "test": ROWS}).encode(), r"several lists.*'train', 'test'.*each in a file"),
    "twice.jsonl": (b'{"question": "a", "answer": 1, "answer": 2}\n', r"line 1: .*the key 'answer' is there twice"),
    "twice.csv": (b"question,answer,answer\na,1,2\n", r"two columns are called 'answer': rename one"),
    "open quote.csv": (CSV.replace("What is 3", '"What is 3').encode(), r"after line \d+: not CSV"),
    "other names.csv": (CSV.replace("question,answer", "Frage,Antwort").encode(), r"no 'answer'; found 'Frage', 'Antwort'"),
    "packed.jsonl.gz": (b"\x1f\x8b", r"ends in '\.gz': known are .*; convert or unpack it"),
    "no answer.jsonl": (LINES.replace('"4"', "null").encode(), r"line 4, column 'answer': expected text or a number"),
    "two answers.jsonl": (LINES.replace('"4"', '["4", "four"]').encode(), r"line 4.*task\.answer=answer\.0 or answer\.1"),
    "nested.jsonl": (LINES.replace('"4"', '{"value": 4}').encode(), r"line 4.*say which it is, task\.answer=answer\.value"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_file_ends_in_one_message(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        File(path=tmp_path / name).train()
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_cells_have_any_size(ending: str, tmp_path: Path) -> None:
    long: list[Any] = [{"question": "long " * 60_000 + f"{k}?", "answer": k} for k in range(3)]
    mark = "\t" if ending == "tsv" else ","
    text = f"question{mark}answer\n" + "".join(f"{row['question']}{mark}{row['answer']}\n" for row in long)
    (tmp_path / f"a.{ending}").write_text("".join(map(json_line, long)) if ending == "jsonl" else text)
    task = File(path=tmp_path / f"a.{ending}")
    assert [o.question for o in Rows(task, "train", task._tables["train"])] == [row["question"] for row in long]


def json_line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


def test_the_limit_of_a_cell_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LARGEST_CELL", 1000)
    (tmp_path / "a.csv").write_text(CSV + "x" * 1001 + ",1\n")
    with pytest.raises(ValueError, match=r"a quote is never closed, or a cell has more than 1,000 characters"):
        File(path=tmp_path / "a.csv").check()


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.jsonl").write_text(LINES)
    File(path=Path("~/mine.jsonl")).check()


def test_every_form_of_several_option_columns_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer,a,b\nx,A,1,2\n")
    for choices in ("a,b", "a, b", ["a", "b"], ("a", "b")):
        task = File(path=tmp_path / "a.csv", choices=choices)  # type: ignore[arg-type]
        assert [o.choices for o in Rows(task, "train", task._tables["train"])] == [("1", "2")]


def test_a_new_line_around_a_question_is_one() -> None:
    assert File(before="Question: ", after="\\nAnswer:").after == "\nAnswer:"
    assert File(after="\nAnswer:").after == "\nAnswer:"


def test_values_of_the_hub_are_those_that_were_written() -> None:
    datasets = pytest.importorskip("datasets", reason='needs the extra "star_loop[hub]"')
    features = {"answer": datasets.Value("float32"), "parts": datasets.List(datasets.Value("float16"))}
    written = {"answer": [0.1, None, 2.5], "parts": [[0.3], [], [1.0]]}
    rows = Memory("hub", stored(datasets.Dataset.from_dict(written, features=datasets.Features(features))))
    assert [str(rows[k]["answer"]) for k in range(len(rows))] == ["0.1", "None", "2.5"]
    assert [[str(part) for part in rows[k]["parts"]] for k in range(3)] == [["0.3"], [], ["1.0"]]
