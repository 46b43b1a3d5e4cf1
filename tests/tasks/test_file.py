"""Your own questions: every format and schema, splits that stay, and errors that say where."""

import csv
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.launch import launch
from star_loop.records import Observation
from star_loop.stages.load import load
from star_loop.tasks.cells import RowError, pick
from star_loop.tasks.choices import choices_of
from star_loop.tasks.file import File
from star_loop.tasks.table import read
from star_loop.verifiers.exact import Exact
from star_loop.verifiers.expression import Expression
from star_loop.verifiers.label import YesNo
from star_loop.verifiers.multiple_choice import MultipleChoice
from tests.quiz import configure

ROWS = [
    {"q": f'How much is {k} "plus" one,\nplease?', "a": str(k + 1), "kind": "even" if k % 2 else "odd"}
    for k in range(30)
]


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_json(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text(json.dumps({"data": rows}))


def write_csv(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, object]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS: dict[str, Callable[..., None]] = {
    "mine.jsonl": write_jsonl, "mine.json": write_json, "mine.csv": write_csv, "mine.parquet": write_parquet,
    "mine.tsv": lambda path, rows: write_csv(path, rows, "\t"),
}  # fmt: skip


def everything(task: File) -> list[Observation]:
    return [observation for split in (task.train, task.validation, task.test) for observation in split()]


def one(path: Path, row: dict[str, object], **keys: object) -> Observation:
    """The only observation of a file with one row."""
    write_jsonl(path / "one.jsonl", [row])
    task = File(path=path / "one.jsonl", **keys)  # type: ignore[arg-type]
    (observation,) = everything(task)
    assert task.verifier.judge(observation, task.gold_text(observation)).correct
    return observation


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_holds_the_same_observations(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, ROWS)
    task = File(path=tmp_path / name, question="q", answer="a", skill="kind")
    task.check()
    splits = load(task)
    assert {split: len(found) for split, found in splits.items()} == {"train": 24, "validation": 3, "test": 3}
    found = sorted(everything(task), key=lambda o: o.id)
    assert [(o.question, o.answer, o.skill) for o in found] == [(r["q"], r["a"], r["kind"]) for r in ROWS]
    assert [o.id for o in found] == [f"train/{k:07}" for k in range(30)]


@given(st.lists(st.fixed_dictionaries({"q": st.text("ab,\"'\n\r é"), "a": st.text('12,"\n')}), min_size=1, max_size=8))
def test_what_csv_writes_it_reads(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "mine.csv"
    write_csv(path, rows)
    table = read(path)
    assert [table[index] for index in range(len(table))] == rows
    assert [table[index] for index in reversed(range(len(table)))] == rows[::-1]


def test_splits_of_their_own_and_what_leaks_into_them(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    write_jsonl(tmp_path / "test.jsonl", [{**ROWS[0], "q": str(ROWS[0]["q"]).upper()}, {"q": "another", "a": "1"}])
    task = File(
        path=tmp_path / "train.jsonl", test_path=tmp_path / "test.jsonl", question="q", answer="a", validation_size=5
    )
    assert (len(task.train()), len(task.validation()), len(task.test())) == (24, 5, 2)
    assert ROWS[0]["q"] not in {o.question for split in (task.train, task.validation) for o in split()}


def test_equal_questions_stay_on_one_side(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [{"question": f"q{k % 10}", "answer": "1"} for k in range(60)])
    splits = load(File(path=tmp_path / "mine.jsonl"))
    assert {name: len(split) for name, split in splits.items()} == {"train": 48, "validation": 6, "test": 6}


def test_ids_decide_the_split_not_the_order(tmp_path: Path) -> None:
    rows = [{"question": f"q{k}", "answer": "1", "id": f"x{k}"} for k in range(40)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    write_jsonl(tmp_path / "b.jsonl", rows[::-1])
    tests = [{o.id for o in File(path=tmp_path / n, id="id").test()} for n in ("a.jsonl", "b.jsonl")]
    assert tests[0] == tests[1]
    assert tests[0] != {o.id for o in File(path=tmp_path / "a.jsonl", id="id", seed=1).test()}


# ---------------------------------------------------------------------------------------------- schemas and golds


@pytest.mark.parametrize(
    "choices",
    [["red", "blue"], ["A) red", "B) blue"], ["(A) red", "(B) blue"], "(A) red (B) blue", "A. red B. blue", "red | blue",
     "red\nblue", '["red", "blue"]', '{"text": ["red", "blue"], "label": ["A", "B"]}', {"A": "red", "B": "blue"},
     [{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}], {"text": ["red", "blue"], "label": ["A", "B"]}],
)  # fmt: skip
def test_choices_in_many_ways(choices: object) -> None:
    assert choices_of(choices, "c", "here") == ("red", "blue")


def test_a_letter_in_a_text_is_no_mark() -> None:
    assert choices_of(["A) x", "C) y"], "c", "here") == ("A) x", "C) y")
    assert choices_of("(A) plan A. (B) plan B", "c", "here") == ("plan A.", "plan B")
    for bad in ("red", ["red"], 7, None, ["red", ""], "[1", ["x"] * 27):
        with pytest.raises(RowError, match=r"here, column 'c'"):
            choices_of(bad, "c", "here")


def test_styles_of_published_data_sets(tmp_path: Path) -> None:
    math = one(tmp_path, {"problem": "x", "solution": "So $x = \\boxed{12}$.", "level": "Level 5", "type": "Algebra"},
               question="problem", answer="solution", level="level", skill="type")  # fmt: skip
    assert (math.answer, math.level, math.skill) == ("12", 5, "Algebra")
    assert math.rationale == "So $x = \\boxed{12}$.\n#### 12"
    gsm = one(tmp_path, {"question": "x", "answer": "It is 2.\n#### 1,000"})
    assert (gsm.answer, gsm.rationale) == ("1000", "It is 2.\n#### 1,000")
    aqua = one(tmp_path, {"question": "x", "options": ["A)21", "B)22", "C)23"], "correct": "B", "rationale": "It is 22."},
               answer="correct", choices="options", rationale="rationale")  # fmt: skip
    assert (aqua.answer, aqua.choices, aqua.rationale) == ("B", ("21", "22", "23"), "It is 22.\nThe answer is (B).")
    assert one(tmp_path, {"question": "x", "answer": True}).answer == "yes"
    game = one(tmp_path, {"nums": [8, 3, 1], "target": 24, "id": 4}, question="id", answer="target", numbers="nums")
    assert (game.answer, game.meta["numbers"]) == ("24", [8, 3, 1])
    mmlu = {"question": "x", "choices": ["a", "b", "c", "d"], "answer": 3}
    assert one(tmp_path, mmlu, choices="choices", first_choice=0).answer == "D"
    assert one(tmp_path, mmlu, choices="choices", first_choice=1).answer == "C"
    wide = one(
        tmp_path,
        {"question": "x", "opa": "1", "opb": "2", "answer": 1.0, "n": {"m": [5]}},
        choices="opa, opb",
        id="n.m.0",
    )
    assert (wide.choices, wide.id) == (("1", "2"), "5")
    assert one(tmp_path, {"question": "x", "answer": 51.0}).answer == "51"


def test_a_guessed_verifier_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [{"question": f"q{k}", "answer": "yes" if k < 20 else 7} for k in range(30)])
    task = File(path=tmp_path / "mine.jsonl", test_size=1, validation_size=1)
    with caplog.at_level("INFO", "star_loop"):
        assert len(task.train()) == 28
    assert "verifier guessed from the golds: YesNo for 1" in caplog.text
    assert "Exact for" in caplog.text


PRESETS: dict[str, tuple[dict[str, object], str]] = {
    "math": (
        {"problem": "x", "solution": "So $\\boxed{\\frac{1}{2}}$.", "level": "Level 3", "type": "Algebra"},
        "\\frac{1}{2}",
    ),
    "aqua": ({"question": "x", "options": ["A)1", "B)2", "C)3", "D)4", "E)5"], "rationale": "r", "correct": "E"}, "E"),
    "strategyqa": ({"qid": "a1", "question": "x", "answer": False, "facts": "f"}, "no"),
    "countdown": ({"target": 98, "nums": [44, 19, 35]}, "98"),
}


@pytest.mark.parametrize("name", PRESETS)
def test_known_data_sets_take_a_path_instead_of_the_hub(name: str, tmp_path: Path) -> None:
    row, answer = PRESETS[name]
    write_jsonl(tmp_path / "one.jsonl", [row])
    keys = ["task.test_size=1", "task.validation_size=1", f"task.path={tmp_path / 'one.jsonl'}"]
    task = build(configure("experiment=smoke", f"task={name}", *keys)).task
    (observation,) = task.test()
    assert observation.answer == answer
    assert task.verifier.judge(observation, task.gold_text(observation)).correct


def test_a_question_of_several_columns(tmp_path: Path) -> None:
    row = {"target": 98, "nums": [44, 19], "a": {"b": "x"}, "answer": 1}
    assert one(tmp_path, row, question="{nums} → {target} {a.b}").question == "[44, 19] → 98 x"
    with pytest.raises(RowError, match=r"line 1, column 'goal'"):
        one(tmp_path, row, question="{goal}")


@pytest.mark.parametrize(
    "name, kind", [("exact", Exact), ("multiple_choice", MultipleChoice), ("yes_no", YesNo), ("expression", Expression)]
)
def test_a_verifier_by_name(name: str, kind: type) -> None:
    assert type(build(configure("experiment=smoke", "task=file", f"task.verifier={name}")).task.verifier) is kind


def test_an_unknown_verifier_names_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"task\.verifier: .*known are guess, exact, math, multiple_choice.*got 'oracle'"
    ):
        build(configure("experiment=smoke", "task=file", "task.verifier=oracle"))


def test_without_worked_examples_the_prompt_says_how_to_answer(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", ROWS)
    task = File(path=tmp_path / "mine.jsonl", question="q", answer="a")
    observation = task.train()[0]
    assert task.bare_prompt(observation) == task.prompt(observation)
    assert task.prompt(observation).startswith('Think step by step. End with "#### " and the answer.\n\nQ: How much')
    assert task.prompt(observation, hint=True).endswith(f"[The correct answer: {observation.answer}]\nA:")
    write_jsonl(tmp_path / "shots.jsonl", [{"question": "1?", "answer": "1", "rationale": "It is 1.\n#### 1"}])
    shown = File(path=tmp_path / "mine.jsonl", question="q", answer="a", exemplars=tmp_path / "shots.jsonl")
    assert shown.prompt(observation).startswith("Q: 1?\nA: It is 1.\n#### 1\n\nQ: How much")


def test_a_worked_example_that_is_measured_too_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [{"question": f"{k}?", "answer": k} for k in range(40)])
    held_out = File(path=tmp_path / "mine.jsonl", test_size=4, validation_size=4)
    questions = [held_out.train()[0].question, held_out.validation()[1].question, held_out.test()[2].question]
    write_jsonl(tmp_path / "shots.jsonl", [
        {"question": q, "answer": q[:-1], "rationale": f"It is {q[:-1]}.\n#### {q[:-1]}"} for q in questions
    ])  # fmt: skip
    load(held_out.model_copy(update={"exemplars": tmp_path / "shots.jsonl"}))
    assert [
        record.getMessage().partition(", so")[0] for record in caplog.records if "answer is shown" in record.message
    ] == [
        f"{tmp_path}/shots.jsonl, line {line} asks what a {split} question asks"
        for line, split in ((2, "validation"), (3, "test"))
    ]


def test_worked_examples_without_the_options_that_questions_have_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [{"question": f"{k}?", "answer": "A", "choices": ["x", k]} for k in range(9)])
    write_jsonl(tmp_path / "shots.jsonl", [{"question": "?", "answer": "B", "rationale": "The answer is (B)."}])
    load(File(path=tmp_path / "mine.jsonl", choices="choices", exemplars=tmp_path / "shots.jsonl"))
    assert "shots.jsonl, line 1 has no `choices`, which the questions have" in caplog.text


# --------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "a.jsonl",
            '{"question": "x", "answer": 1}\n\n{"question": "x"}\n',
            r"a\.jsonl, line 3, column 'answer': there is no",
        ),
        ("a.jsonl", '{"question": "x", "answer": 1}\n{"question" "x"}\n', r"a\.jsonl, line 2, column 13: not JSON"),
        ("a.jsonl", '{"question": "x", "answer": 1}\n[1]\n', r"line 2: expected a JSON object .* found a list of 1"),
        ("a.jsonl", '{"question": " ", "answer": 1}\n', r"line 1, column 'question': expected text or a number"),
        (
            "a.jsonl",
            '{"question": "x", "answer": [1, 2]}\n',
            r"line 1, column 'answer': expected one answer, found a list of 2: .*task\.answer=answer\.0",
        ),
        (
            "a.jsonl",
            '{"question": "x", "answer": "\\\\boxed{"}\n',
            r"line 1, column 'answer': no answer behind the marker",
        ),
        ("a.jsonl", "\n\n", r"training set is empty|no row"),
        ("a.jsonl", "", r"a\.jsonl is empty"),
        ("a.json", "{", r"a\.json: not JSON"),
        ("a.json", "3", r"a\.json: expected a list of objects, found 3"),
        ("a.json", '[{"question": "x", "answer": 1}, 4]', r"a\.json, row 2: expected an object"),
        ("a.csv", 'question,answer\n"x\ny",1\nz\n', r"a\.csv, line 4: 1 cells under 2 column names"),
        ("a.csv", 'question,answer\n"x', r"a\.csv, after line 2: not CSV"),
        ("a.csv", "frage,antwort\nx,1\n", r"line 2, column 'answer': there is no 'answer'; found 'frage', 'antwort'"),
        ("a.parquet", "not parquet", r"a\.parquet: not Parquet"),
        ("a.xlsx", "x", r"a\.xlsx ends in '\.xlsx': known are \.jsonl"),
    ],
)
def test_an_error_names_file_line_and_column(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load(File(path=tmp_path / name))


def test_other_errors_say_what_to_do(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "bare.jsonl", [{"question": "1 + 1?", "answer": 2}])
    with pytest.raises(ValueError, match=r"task\.shots=2: give worked examples with task\.exemplars=<file>"):
        File(path=tmp_path / "bare.jsonl", shots=2).check()
    write_jsonl(tmp_path / "shots.jsonl", [{"question": "1?", "answer": "1", "rationale": "One.\nQ: 2?\n#### 1"}])
    shown = File(path=tmp_path / "bare.jsonl", exemplars=tmp_path / "shots.jsonl")
    with pytest.raises(ValueError, match=r"line 1: its rationale holds '\\nQ:', at which every rationale ends"):
        shown.check()
    (tmp_path / "shots.jsonl").unlink()
    with pytest.raises(
        ValueError, match=r"task\.exemplars=.*shots\.jsonl cannot be read \(No such file or directory\)"
    ):
        shown.worked_examples()
    for answer in ("C", "1", "z"):
        example = {"question": "?", "choices": ["x", "y"], "answer": answer, "rationale": "So it is (A)."}
        write_jsonl(tmp_path / "shots.jsonl", [example])
        with pytest.raises(
            RowError, match=rf"line 1, column 'answer': '{answer}' is neither a letter nor the words of"
        ):
            File(path=tmp_path / "bare.jsonl", exemplars=tmp_path / "shots.jsonl").check()
    for question in ("{question", "question}", "{a} {b"):
        with pytest.raises(ValueError, match=r"a brace without its partner: write columns as \{name\}"):
            File(path=tmp_path / "bare.jsonl", question=question)
    with pytest.raises(ValueError, match=r"give task\.path=<file>, or task\.repository="):
        File().check()
    with pytest.raises(ValueError, match=r"task\.path: there is no file nowhere\.jsonl"):
        File(path=Path("nowhere.jsonl")).check()
    write_jsonl(tmp_path / "a.jsonl", [{"question": f"{k}?", "answer": k} for k in range(3)])
    with pytest.raises(ValueError, match=r"task\.test_path: there is no file nowhere\.jsonl"):
        File(path=tmp_path / "a.jsonl", test_path=Path("nowhere.jsonl")).check()
    with pytest.raises(ValueError, match=r"training set is empty \(train: cut off by task\.test_size=1000, .*: 3\)"):
        load(File(path=tmp_path / "a.jsonl", test_size=1000))
    (tmp_path / "a.jsonl").write_bytes(b'{"question": "\xff", "answer": 1}\n')
    with pytest.raises(RowError, match=r"line 1: not UTF-8"):
        File(path=tmp_path / "a.jsonl").check()
    write_jsonl(tmp_path / "a.jsonl", [{"question": "x", "answer": 4, "c": ["a", "b"], "level": "high"}])
    with pytest.raises(
        RowError, match=r"line 1, column 'answer': 4 is neither the words nor the place of one of 2 options"
    ):
        File(path=tmp_path / "a.jsonl", choices="c").check()
    with pytest.raises(RowError, match=r"4 is no option of 2, counted from 1: correct it, or write task\.first_choice"):
        File(path=tmp_path / "a.jsonl", choices="c", first_choice=1).check()
    with pytest.raises(RowError, match=r"column 'level': expected a list of whole numbers"):
        File(path=tmp_path / "a.jsonl", numbers="level").check()


def test_a_dot_reaches_into_values_and_a_name_with_a_dot_comes_first() -> None:
    row = {"a.b": 1, "a": {"b": 2, "c": [{"d": 3}, {"d": 4}]}}
    assert [pick(row, column, "here") for column in ("a.b", "a.c.d", "a.c.0.d")] == [1, [3, 4], 3]
    with pytest.raises(RowError, match=r"here, column 'a\.x': there is no 'x'; found 'b', 'c'"):
        pick(row, "a.x", "here")


def test_a_file_nobody_has_seen_runs_with_one_command_line(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", ROWS)
    launch(
        configure(
            "experiment=smoke", "task=file", f"task.path={tmp_path / 'mine.jsonl'}", "task.question=q", "task.answer=a",
            "task.verifier=exact", "task.skill=kind", "iterations=1", "schedule.steps=1", "schedule.batch=4",
            "~tracker.console", "~tracker.tensorboard",
        ),
        tmp_path / "run",
    )  # fmt: skip
    metrics = json.loads((tmp_path / "run/iterations/0001/metrics.json").read_text())
    assert metrics["collect/accepted"] == 4
    assert "evaluation/accuracy" in metrics


@pytest.mark.skipif(find_spec("datasets") is None, reason="the extra `hub` is not installed")
def test_a_data_set_read_by_datasets(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    write_jsonl(tmp_path / "test.jsonl", [{**ROWS[0], "q": "another"}])
    task = File(repository=str(tmp_path), test_split="test", question="q", answer="a")
    assert {name: len(split) for name, split in load(task).items()} == {"train": 27, "validation": 3, "test": 1}
    with pytest.raises(ValueError, match=r"cannot load .*, default, nope from the Hub"):
        File(repository=str(tmp_path), test_split="nope").check()


@pytest.mark.skipif(find_spec("datasets") is not None, reason="the extra `hub` is installed")
def test_without_datasets_the_extra_is_named() -> None:
    with pytest.raises(ValueError, match=r'comes from the Hub: pip install "star_loop\[hub\]", or give task\.path='):
        File(repository="some/where").check()
