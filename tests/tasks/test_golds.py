"""Golds and levels are read as a careful person would, or the launch asks: never silently off by one."""

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.records import Observation
from star_loop.tasks.cells import RowError
from star_loop.tasks.file import File
from star_loop.tasks.golds import Counted, gold_text, how_counted, level_of, option_letter, option_number
from star_loop.tasks.lines import loads
from star_loop.tasks.rows import Rows
from star_loop.verifiers.exact import Exact, normalise

OPTIONS = ("wood", "iron", "glass", "paper")


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def observed(path: Path, **keys: Any) -> list[Observation]:
    """The observations of a file in its order."""
    task = File(path=path, **keys)
    return list(Rows(task, "train", task._tables["train"]))


def golds(path: Path, **keys: Any) -> list[str]:
    return [observation.answer for observation in observed(path, **keys)]


# ------------------------------------------------------------------------------------------------ option numbers


def mmlu(path: Path, numbers: Sequence[Any]) -> Path:
    """Options in columns and a number as the gold answer, in the format of the path's ending."""
    rows = [{"question": f"q{k}", "answer": number, "options": "|".join(OPTIONS)} for k, number in enumerate(numbers)]
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    return write(path, rows)


NUMBERS: dict[str, tuple[str, Sequence[Any]]] = {
    "text in CSV": ("a.csv", [0, 1, 2, 3]),
    "text in CSV, once a float": ("a.csv", ["0.0", "1.0", "2.0", "3.0"]),
    "text in JSON Lines": ("a.jsonl", ["0", "1", "2", "3"]),
    "numbers in JSON Lines": ("a.jsonl", [0, 1, 2, 3]),
    "floats in Parquet": ("a.parquet", [0.0, 1.0, 2.0, 3.0]),
    "text in Parquet": ("a.parquet", ["0", "1", "2", "3"]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_option_numbers_of_every_type_count_as_the_rows_prove(name: str, tmp_path: Path) -> None:
    file, numbers = NUMBERS[name]
    assert golds(mmlu(tmp_path / file, numbers), choices="options") == ["A", "B", "C", "D"]
    shifted = [type(number)(float(number) + 1) if isinstance(number, int) else number for number in numbers]
    if shifted != list(numbers):
        assert golds(mmlu(tmp_path / file, shifted), choices="options") == ["A", "B", "C", "D"]


@pytest.mark.parametrize("name", NUMBERS)
def test_where_nothing_proves_the_base_the_launch_asks(name: str, tmp_path: Path) -> None:
    file, numbers = NUMBERS[name]
    path = mmlu(tmp_path / file, [numbers[1], numbers[3], numbers[1]])
    with pytest.raises(RowError, match=r"from 0 or from 1: write task\.first_choice=0 or task\.first_choice=1"):
        File(path=path, choices="options").check()
    assert golds(path, choices="options", first_choice=0) == ["B", "D", "B"]
    assert golds(path, choices="options", first_choice=1) == ["A", "C", "A"]


WRAPPED = ["({})", "[{}]", "{})", "{}.", "{}:", "option {}", "Option ({})", "choice {}", "#{}", "**{}**", "${}$", "{}e0",
           "so\n#### {}", "\\boxed{{{}}}", "<answer>{}</answer>", "x\nThe answer is: {}", '["{}"]', "+{}", "0{}", " {} "]  # fmt: skip


@pytest.mark.parametrize("form", [*WRAPPED, "full width", "list of text", "list"])
def test_a_wrapped_option_number_counts_as_the_bare_one(form: str, tmp_path: Path) -> None:
    others = {"full width": lambda n: chr(0xFF10 + n), "list of text": lambda n: [str(n)], "list": lambda n: [n]}
    path = mmlu(tmp_path / "a.jsonl", [others[form](n) if form in others else form.format(n) for n in (1, 3)])
    with pytest.raises(RowError, match=r"write task\.first_choice=0 or task\.first_choice=1"):
        golds(path, choices="options")
    assert golds(path, choices="options", first_choice=0) == ["B", "D"]
    assert golds(path, choices="options", first_choice=1) == ["A", "C"]


def test_words_behind_a_number_tell_the_option(tmp_path: Path) -> None:
    path = mmlu(tmp_path / "a.jsonl", ["0: wood", "1. wood", "(1) Iron", "2 - iron", "Option 3: glass"])
    for first_choice in (None, 0, 1):
        assert golds(path, choices="options", first_choice=first_choice) == ["A", "A", "B", "B", "C"]
    numeric = [{"question": "q", "answer": answer, "options": ["12 km", "24"]} for answer in ("12 km, since", "1. 24")]
    assert golds(write(path, numeric), choices="options") == ["12 km, since", "B"]


@pytest.mark.parametrize(
    "gold", ["1 because it burns", "1, 2", "1.5", "(1)(2)", "1 (2)", "1!", "1 i.e. metal", "1: 2", "1, 3", "1 - 3"]
)
def test_a_number_that_is_not_alone_is_no_place(gold: str, tmp_path: Path) -> None:
    for first_choice in (None, 0, 1):
        with pytest.raises(RowError, match=r"line 1, column 'answer': '.*' is neither a letter nor the words"):
            golds(mmlu(tmp_path / "a.jsonl", [gold]), choices="options", first_choice=first_choice)
    rows = [{"question": "q", "answer": gold, "options": ["1", "3", "5"]}]
    with pytest.raises(RowError, match="is neither a letter nor the words"):
        golds(write(tmp_path / "a.jsonl", rows), choices="options")


@pytest.mark.parametrize(
    "options",
    [{"text": OPTIONS[:3], "label": ["1", "2", "3"]}, {"1": "wood", "2": "iron", "3": "glass"},
     [{"label": k, "text": text} for k, text in enumerate(OPTIONS[:3], 1)],
     json.dumps([{"id": f"({k})", "text": text} for k, text in enumerate(OPTIONS[:3], 1)])],
)  # fmt: skip
def test_labels_prove_what_numbers_count_from(options: Any, tmp_path: Path) -> None:
    rows = [{"question": f"q{k}", "answer": a, "options": options} for k, a in enumerate(["1", 2, "(1)"])]
    path = write(tmp_path / "a.jsonl", rows)
    assert golds(path, choices="options") == ["A", "B", "A"]
    assert golds(path, choices="options", first_choice=0) == ["B", "C", "B"]


def test_a_label_is_its_own_option_wherever_it_stands(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": "A", "options": {"text": ["wood", "iron"], "label": ["B", "A"]}}]
    assert golds(write(tmp_path / "a.jsonl", rows), choices="options") == ["B"]


def test_numbers_that_are_options_words_are_these_words(tmp_path: Path) -> None:
    rows = [{"question": f"q{k}", "answer": a, "options": ["12", "24", "3", "48"]} for k, a in enumerate([24, "3", 12])]
    assert golds(write(tmp_path / "a.jsonl", rows), choices="options") == ["B", "C", "A"]


def test_an_answer_that_is_no_option_is_named(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": "steel", "options": OPTIONS}]
    with pytest.raises(RowError, match=r"line 1, column 'answer': 'steel' is neither a letter nor the words of one"):
        golds(write(tmp_path / "a.jsonl", rows), choices="options")
    assert golds(tmp_path / "a.jsonl", choices="options", verifier=Exact()) == ["steel"]


@given(st.integers(0, 1), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_a_proof_is_never_wrong(base: int, places: list[int]) -> None:
    """Whatever the places: numbers counted from `base` are read as these places, or the base is asked for."""
    numbers = [place + base for place in places]
    try:
        counted = how_counted([(number, OPTIONS, "here") for number in numbers], "answer", "here")
    except RowError as error:
        assert "first_choice" in str(error)
        assert 0 not in numbers and 4 not in numbers
        return
    assert [option_letter(number, OPTIONS, counted) for number in numbers] == ["ABCD"[place] for place in places]


@given(st.sampled_from(["words", "from 0", "from 1"]), st.permutations(["0", "1", "2", "3"]), st.data())
def test_numeric_options_are_not_taken_for_places(meant: Counted, options: Sequence[str], data: st.DataObject) -> None:
    """Where words and places both fit every row, words it is; where words do not fit, places are."""
    numbers = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=8))
    assert how_counted([(number, options, "here") for number in numbers], "answer", "here") == "words"
    outside = [(number, OPTIONS, "here") for number in (0, 2)]
    assert how_counted(outside, "answer", "here") == "from 0"


def test_what_is_no_option_number() -> None:
    assert [option_number(value) for value in (True, "B", "0.5", "1,000", None, [1], "1e0")] == [None] * 7


# -------------------------------------------------------------------------------------------- extraction of golds

SOLUTIONS = {
    "He wrote it.\n#### Dr. Seuss": "Dr. Seuss",
    "x\n#### St. Louis, Mo.": "St. Louis, Mo",
    "#### 3 ft. 4 in.": "3 ft. 4 in",
    "#### 5; 6": "5; 6",
    "It is No. 5.\n#### No. 5": "No. 5",
    "#### 7\nThe answer is: 7 dollars": "7",
    "so $\\boxed{5}$. Hence the correct answer is 5, as claimed.": "5",
    "So $\\boxed 2$.": "2",
    "$\\boxed\\frac{1}{2}$": "\\frac{1}{2}",
    "so \\fbox{12}": "12",
    "\\boxed{3}, \\boxed{5}, \\boxed{7}": "3, 5, 7",
    "Half of 84.\n#### 1,000": "1000",
    "6 times 7.\nThe answer is: 42": "42",
    "<think>4?</think> <answer>U.S. Congress</answer>": "U.S. Congress",
    "\\boxed{5}. No other solutions exist.": "5",
    "\\boxed{5}. Actually, more is true.": "5",
    "x\n#### 5\nActually, this is well known.": "5",
    "x\n#### 3.5\nWait, check: 3.5.": "3.5",
    "She did. Wait, no: 4.\nThe answer is: 7\nBut wait.": "7",
    "\\boxed{4}. No, it is \\boxed{5}. Hmm, so it is.": "5",
    "$\\boxed{3}\\%$ of it": "3%",
    "$\\boxed{3}$ percent": "3%",
    "$\\boxed{3\\%}\\%$": "3\\%",
    "x\nAnswer: No. He did not.": "No",
    "#### 4\nWait, no.\n#### 5\nWait, no." + " More. No more." * 2000: "5",
    "\\boxed{\\frac{1}{2}}\\%": "\\frac{1}{2}\\%",
    "Of {50}\\% it is \\boxed 3": "3",
    "It is $\\boxed3\\%$": "3%",
    "\\boxed 3. Half of {6}\\%": "3",
    "x\n#### 5 apples. Then we stop.": "5 apples",
    "x\nThe answer is: Apple Inc. Headquarters": "Apple Inc. Headquarters",
    "so $\\boxed{5}$ million": "5 million",
    "so $\\boxed{3}$ meters": "3",
    "<think>#### 5</think> six": "six",
    "<think>#### 5. Wait, no</think>\n#### 6\nNo doubt.": "6",
    "x\n#### 5. Then we stop.": "5",
    "x\n#### 5%. Done.": "5%",
    "x\n#### Yes. Really": "Yes. Really",
    "x\nSo the answer is Dr. Seuss. He wrote it.": "Dr. Seuss",
    "x\nThe answer is: J. K. Rowling": "J. K. Rowling",
    "x\nThe answer is: the U.S. House of Representatives": "the U.S. House of Representatives",
    "x\nThe answer is 12. That is all.": "12",
    "New York": "New York",
    "Dr. Seuss": "Dr. Seuss",
}


@pytest.mark.parametrize("solution", SOLUTIONS)
def test_a_gold_is_what_stands_behind_the_marker(solution: str, tmp_path: Path) -> None:
    (found,) = observed(write(tmp_path / "a.jsonl", [{"question": "q", "answer": solution}]))
    assert found.answer == SOLUTIONS[solution]
    if found.rationale is not None:
        assert found.rationale.startswith(solution)
        assert File().verifier.judge(found, found.rationale).correct


def test_a_list_of_one_is_its_element(tmp_path: Path) -> None:
    rows = [{"question": f"q{k}", "answer": a} for k, a in enumerate([["5"], '["\\\\frac12"]', [2.50], [["x"]]])]
    assert golds(write(tmp_path / "a.jsonl", rows)) == ["5", "\\frac12", "2.5", "x"]
    texts = {"['5']": "5", "[5]": "5", "[ 5.10 ]": "5.1", "[1, 2]": "[1, 2]", "[[1, 2]]": "[[1, 2]]", "[a]": "[a]"}
    for text, gold in texts.items():
        assert golds(write(tmp_path / "a.jsonl", [{"question": "q", "answer": text}])) == [gold]
    for empty in ("[]", "[ ]", [], "<think>5</think>"):
        with pytest.raises(RowError, match="line 1, column 'answer': "):
            golds(write(tmp_path / "a.jsonl", [{"question": "q", "answer": empty}]))
    for bad, name in (
        (["5", "6"], "answer.0 or answer.1"),
        ("['5' '6']", "answer.0 or answer.1"),
        ({"value": 5, "unit": "m"}, "answer.value or answer.unit"),
    ):
        with pytest.raises(RowError, match=rf"expected one answer, found .*: say which it is, task\.answer={name}"):
            golds(write(tmp_path / "a.jsonl", [{"question": "q", "answer": bad}]))


def test_the_instruction_fits_every_row(tmp_path: Path) -> None:
    rows = [{"question": "q0", "answer": "yes"}, {"question": "q1", "answer": 7}]
    task = File(path=write(tmp_path / "a.jsonl", rows))
    prompts = [task.prompt(observation) for observation in Rows(task, "train", task._tables["train"])]
    assert "where X is yes or no" in prompts[0]
    assert '"#### " and the answer' in prompts[1]
    assert prompts == [task.bare_prompt(o) for o in Rows(task, "train", task._tables["train"])]


def test_the_log_shows_what_was_made_of_the_golds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"question": f"q{k}", "answer": f"{'So it is. ' * k}\n#### {k},000"} for k in range(40)]
    task = File(path=write(tmp_path / "a.jsonl", rows), test_size=1, validation_size=1)
    with caplog.at_level("INFO", "star_loop"):
        task.train()
    (said,) = [record.getMessage() for record in caplog.records if "golds as they were read" in record.getMessage()]
    assert said.count("→") == 20
    assert "So it is. So it is. \\n#### 19,000' → '19000'" in said


def test_equal_questions_with_different_golds_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"question": f"q{k % 30}", "answer": 5 if k < 31 else 6} for k in range(33)]
    rows += [{"question": "q7", "answer": "5.0"}]
    task = File(path=write(tmp_path / "a.jsonl", rows), test_size=1, validation_size=1)
    with caplog.at_level("WARNING", "star_loop"):
        found = sum(count for what, count in task.findings().items() if "different golds" in what)
    assert found == 2
    assert "the same question has two gold answers" in caplog.text


def test_the_same_words_with_other_options_are_another_question(tmp_path: Path) -> None:
    rows = [{"question": f"q{k // 2}", "answer": "AB"[k % 2], "c": f"{k}|x"} for k in range(40)]
    task = File(path=write(tmp_path / "a.jsonl", rows), choices="c", test_size=2, validation_size=2)
    assert not any("different golds" in what for what in task.findings())


def test_a_small_test_split_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"question": f"q{k}", "answer": k} for k in range(70)]
    with caplog.at_level("WARNING", "star_loop"):
        File(path=write(tmp_path / "a.jsonl", rows)).train()
    assert "the test split has 7 questions, so an accuracy on it is known to ±37 points at best" in caplog.text
    caplog.clear()
    two = write(tmp_path / "two.jsonl", rows[:2])
    with caplog.at_level("WARNING", "star_loop"):
        File(path=two).train()
    assert "too few rows to cut a test split from, so no accuracy on it is measured: give task.test_path" in caplog.text


# ------------------------------------------------------------------------------------------- numbers as written


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1e20, max_value=1e20))
def test_a_number_in_json_is_the_gold_that_is_written(number: Any) -> None:
    (found,) = loads(f"[{number}]".encode())
    assert gold_text(found, "answer", "here") == normalise(format(number, "f"))


@pytest.mark.parametrize(
    "written, gold",
    [("1e22", "10000000000000000000000"), ("0.1", "0.1"), ("2.50", "2.5"), ("1E-7", "0.0000001"), ("51.0", "51"),
     ("123456789.123456789123456789", "123456789.123456789123456789"), ('"1e22"', "10000000000000000000000")],
)  # fmt: skip
def test_numbers_of_json_are_golds_in_plain_decimal(written: str, gold: str, tmp_path: Path) -> None:
    for name, text in (("a.jsonl", f'{{"question": "q", "answer": {written}}}\n'),
                       ("a.json", f'[{{"question": "q", "answer": {written}}}]')):  # fmt: skip
        (tmp_path / name).write_text(text)
        assert golds(tmp_path / name) == [gold]


@pytest.mark.parametrize(
    "kind, value, gold",
    [(pa.float16(), np.float16(0.1), "0.1"), (pa.float32(), 0.1, "0.1"), (pa.float64(), 0.1, "0.1"),
     (pa.float64(), 1e16, "10000000000000000"), (pa.float32(), 16777216.0, "16777216"), (pa.int64(), 3, "3"),
     (pa.decimal128(10, 3), None, "2.5"), (pa.date32(), date(2020, 2, 1), "2020-02-01"),
     (pa.timestamp("s"), datetime(2020, 2, 1, 3, 4), "2020-02-01 03:04:00"), (pa.time32("s"), time(3, 4), "03:04:00")],
)  # fmt: skip
def test_numbers_of_parquet_are_golds_in_plain_decimal_and_dates_in_iso(
    kind: Any, value: Any, gold: str, tmp_path: Path
) -> None:
    column = pa.array(["2.500"]).cast(kind) if value is None else pa.array([value], kind)
    nested = pa.StructArray.from_arrays([column], ["value"])
    lists = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), column)
    pq.write_table(pa.table({"question": ["q"], "answer": column, "n": nested, "l": lists}), tmp_path / "a.parquet")
    for name in ("answer", "n.value", "l", "l.0"):
        assert golds(tmp_path / "a.parquet", answer=name) == [gold]


@pytest.mark.parametrize("number", ["1e999999", "1" + "0" * 401, "-" + "9" * 4000])
def test_a_number_of_very_many_digits_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "q", "answer": %s}\n' % number)  # noqa: UP031
    with pytest.raises(RowError, match=r"line 1, column 'answer': .* more than 400 places"):
        golds(tmp_path / "a.jsonl")


# -------------------------------------------------------------------------------------------------------- levels


def test_levels_that_are_no_numbers_are_left_out_and_counted(tmp_path: Path) -> None:
    levels = ["Level 5", "Level ?", None, "hard", 3, 2.0, "4", "grade 3-4"] * 3
    rows = [{"question": f"q{k}", "answer": k, "level": level} for k, level in enumerate(levels)]
    task = File(path=write(tmp_path / "a.jsonl", rows), level="level", test_size=1, validation_size=1)
    assert [o.level for o in observed(task.path or Path(), level="level")] == [5, None, None, None, 3, 2, 4, None] * 3
    assert sum(count for what, count in task.findings().items() if "without a level" in what) == 12


REFUSED = [0.25, "0.75", "3/4", "½", "2½", ".5", -1, "-1", "−1", "Level －1", "level_-1", "Level 2.5"]


@pytest.mark.parametrize("level", REFUSED)
def test_levels_that_would_become_one_are_refused(level: Any) -> None:
    with pytest.raises(RowError, match=r"a level is a whole number from 0, found .*task\.skill=grade"):
        level_of(level, "grade", "here")


@given(st.integers(0, 999_999_999))
def test_a_whole_number_is_its_own_level(number: int) -> None:
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in str(number))
    texts = [form.format(number) for form in ("{}", "Level {}", "L{}", "{}.0", "level_{}", "Level-{}")]
    for written in (number, float(number), wide, *texts):
        assert level_of(written, "level", "here") == number
