"""The six benchmarks: every row right, every trap counted, nobody measured with what was learned."""

import json
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.launch import launch, show
from star_loop.protocols import BootstrapError, Task
from star_loop.records import Observation
from star_loop.stages.load import load
from star_loop.tasks.anli import AnliR1
from star_loop.tasks.arc_challenge import ArcChallenge
from star_loop.tasks.benchmark import Benchmark
from star_loop.tasks.cells import RowError
from star_loop.tasks.cladder import Cladder
from star_loop.tasks.commonsenseqa import CommonsenseQA
from star_loop.tasks.gsm8k import Gsm8k
from star_loop.tasks.splitting import Subset, by_question, divide, without_leaks
from star_loop.tasks.survey import Group, digest
from star_loop.tasks.svamp import Svamp
from star_loop.verifiers.multiple_choice import LETTERS, MultipleChoice
from tests.quiz import configure
from tests.small_models import byte_tokenizer, write_llama

ROOT = Path(__file__).parent.parent.parent
FIXTURES = Path(__file__).parent.parent / "fixtures"
DATA = Path(os.environ.get("STAR_LOOP_DATA", ROOT.parent / "shared/data"))
BENCHMARKS: dict[str, type[Benchmark]] = {
    "gsm8k": Gsm8k, "svamp": Svamp, "arc_challenge": ArcChallenge, "commonsenseqa": CommonsenseQA, "cladder": Cladder,
    "anli_r1": AnliR1,
}  # fmt: skip
NAMES = sorted(BENCHMARKS)
REAL_SIZES = {
    "gsm8k": (7273, 200, 1319), "svamp": (640, 160, 200), "arc_challenge": (1113, 297, 1172),
    "commonsenseqa": (9541, 200, 1221), "cladder": (1281, 200, 500), "anli_r1": (554, 138, 1000),
}  # fmt: skip
REAL_FINDINGS = {
    "gsm8k": {"train: answers with thousands separators": 79, "test: answers with thousands separators": 14},
    "svamp": {"train: operations misspelt": 1},
    "arc_challenge": {
        "train: numbered options given letters": 23, "validation: numbered options given letters": 4,
        "test: numbered options given letters": 22, "train: questions with 3 options": 1,
        "train: questions with 5 options": 1, "validation: questions with 3 options": 3,
        "validation: questions with 5 options": 1, "test: questions with 3 options": 4,
        "test: questions with 5 options": 3, "train: left out, same text as a held-out one": 6,
        "validation: left out, same text as a held-out one": 2,
    },
    "commonsenseqa": {
        "train: questions with two options of the same words": 122,
        "test: questions with two options of the same words": 24,
    },
    "cladder": {
        "train: rows without reasoning": 314, "test: rows without reasoning": 75,
        "train: left out, same id as a held-out one": 500, "train: left out, same text as a held-out one": 42,
    },
    "anli_r1": {"train: left out, same text as a held-out one": 308},  # one of them differs in its spaces
}  # fmt: skip


def folder(name: str, root: Path) -> Path:
    return root / name.removesuffix("_r1")


def fixture(name: str, **keys: object) -> Benchmark:
    return BENCHMARKS[name](path=folder(name, FIXTURES), **{"validation_size": 3, **keys})  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=NAMES)
def real(request: pytest.FixtureRequest) -> Iterator[tuple[str, Benchmark]]:
    path = folder(request.param, DATA)
    if not path.is_dir():
        pytest.skip(f"no real data at {path}: name their folder in STAR_LOOP_DATA")
    yield request.param, BENCHMARKS[request.param](path=path)


def everything(task: Task) -> list[Observation]:
    return [observation for split in (task.train, task.validation, task.test) for observation in split()]


def perturbed(observation: Observation, task: Task) -> Iterator[str]:
    """Statements of other answers than the gold one."""
    if observation.choices:
        yield from (
            f"The answer is ({letter})."
            for letter in LETTERS[: len(observation.choices)]
            if letter != observation.answer
        )
        yield f"The answer is ({LETTERS[len(observation.choices)]})."
    elif observation.answer in ("yes", "no"):
        yield f"The answer is {'no' if observation.answer == 'yes' else 'yes'}."
    elif isinstance(task, AnliR1):
        yield from (
            f"The answer is {label}."
            for label in ("entailment", "neutral", "contradiction")
            if label != observation.answer
        )
    else:
        number = observation.answer
        yield from (
            f"#### {wrong}" for wrong in (f"{number}1", f"1{number}", f"-1{number}", f"{number}.5", f"{number} or 1")
        )


# ----------------------------------------------------------------------------------------------- the real files


def test_every_gold_of_the_real_files_verifies_and_no_other_answer_does(real: tuple[str, Benchmark]) -> None:
    _, task = real
    for observation in everything(task):
        assert task.verifier.judge(observation, task.gold_text(observation)).correct, observation.id
        assert task.verifier.judge(observation, task.statement(observation)).correct, observation.id
        for text in perturbed(observation, task):
            assert not task.verifier.judge(observation, text).correct, (
                observation.id,
                text,
            )


def test_the_traps_of_the_real_files_are_counted(real: tuple[str, Benchmark], caplog: pytest.LogCaptureFixture) -> None:
    name, task = real
    splits = load(task)
    assert tuple(len(splits[split]) for split in ("train", "validation", "test")) == REAL_SIZES[name]
    assert task.findings() == REAL_FINDINGS[name]
    task = BENCHMARKS[name](path=folder(name, DATA))
    with caplog.at_level("INFO", "star_loop"):
        task.train()
    assert all(f"{count:,} {finding}" in caplog.text for finding, count in REAL_FINDINGS[name].items())


def test_no_real_question_is_both_learned_from_and_measured_with(real: tuple[str, Benchmark]) -> None:
    _, task = real
    groups = [{digest(task.group(o)) for o in split()} for split in (task.train, task.validation, task.test)]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_no_worked_example_is_a_real_question(real: tuple[str, Benchmark]) -> None:
    _, task = real
    assert not {digest(e.question) for e in task._exemplars} & {digest(o.question) for o in everything(task)}


def test_a_single_real_file_is_split() -> None:
    path = DATA / "svamp/SVAMP.json"
    if not path.is_file():
        pytest.skip(f"no real data at {path}: name their folder in STAR_LOOP_DATA")
    splits = load(Svamp(path=path))
    assert {name: len(split) for name, split in splits.items()} == {"train": 640, "validation": 160, "test": 200}


# -------------------------------------------------------------------------------------------------- the fixtures


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_takes_one_key(name: str) -> None:
    task = build(configure("experiment=smoke", f"task={name}", f"task.path={folder(name, FIXTURES)}")).task
    task.check()
    assert load(task)["train"]


@pytest.mark.parametrize("name", NAMES)
def test_golds_verify_and_other_answers_do_not(name: str) -> None:
    task = fixture(name)
    for observation in everything(task):
        assert task.verifier.judge(observation, task.gold_text(observation)).correct
        assert not any(task.verifier.judge(observation, text).correct for text in perturbed(observation, task))


@pytest.mark.parametrize("name", NAMES)
def test_splits_are_the_same_each_time_and_hang_on_the_seed(name: str) -> None:
    assert everything(fixture(name)) == everything(fixture(name))
    if name != "arc_challenge":  # it has a validation split of its own
        validations = {tuple(o.id for o in fixture(name, seed=seed).validation()) for seed in range(5)}
        assert len(validations) > 1


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_seeded_subsets(name: str) -> None:
    ids = [o.id for o in fixture(name, train_size=5).train()]
    assert 5 <= len(ids) <= 6  # a group stays together
    assert [o.id for o in fixture(name).train() if o.id in set(ids)] == ids
    tested = {o.id for o in fixture(name, test_size=2).test()}
    assert len(tested) == 2
    assert tested <= {o.id for o in everything(fixture(name))}


def test_the_traps_are_counted() -> None:
    assert fixture("gsm8k").findings() == {
        "train: answers with thousands separators": 1, "test: answers with thousands separators": 1,
    }  # fmt: skip
    assert fixture("arc_challenge").findings() == {
        "train: numbered options given letters": 1, "train: questions with 3 options": 1,
        "train: questions with 5 options": 1, "test: numbered options given letters": 1,
        "test: questions with 3 options": 1, "train: left out, same text as a held-out one": 1,
    }  # fmt: skip
    assert fixture("cladder").findings() == {
        "train: rows without reasoning": 6, "test: rows without reasoning": 2,
        "train: left out, same id as a held-out one": 4, "train: left out, same text as a held-out one": 1,
    }  # fmt: skip
    assert fixture("anli_r1").findings() == {
        "test: labels that are strings": 3, "train: left out, same text as a held-out one": 2,
    }  # fmt: skip


def test_answers_come_in_one_form() -> None:
    assert [o.answer for o in fixture("gsm8k").test()][-1] == "50000"
    assert all(o.answer in LETTERS for o in everything(fixture("arc_challenge")))
    assert {o.answer for o in everything(fixture("anli_r1"))} == {"entailment", "neutral", "contradiction"}
    assert all("." not in o.answer for o in everything(fixture("svamp")))
    assert all(o.rationale is None or "nan" not in o.rationale for o in everything(fixture("cladder")))
    assert {o.level for o in everything(fixture("cladder"))} == {1, 2, 3}


HUB_ROWS: list[tuple[type[Benchmark], dict[str, object], str]] = [
    (Cladder, {"id": 7, "prompt": "Is it so?", "label": "Yes", "reasoning": "Let X.", "rung": 2, "query_type": "ate"}, "yes"),
    (CommonsenseQA, {"id": "a", "question": "Where?", "question_concept": "x", "answerKey": "B",
                     "choices": {"label": ["A", "B"], "text": ["here", "there"]}}, "B"),
    (Svamp, {"ID": "chal-1", "Body": "There are 3 and 4.", "Question": "All?", "Equation": "( 3.0 + 4.0 )", "Answer": "7",
             "Type": "Addition", "question_concat": "There are 3 and 4. All?"}, "7"),
    (AnliR1, {"uid": "u", "premise": "p", "hypothesis": "h", "label": 2, "reason": ""}, "contradiction"),
    (AnliR1, {"uid": "u", "context": "p", "hypothesis": "h", "label": "e", "reason": None}, "entailment"),
]  # fmt: skip


@pytest.mark.parametrize("kind, row, answer", HUB_ROWS, ids=lambda x: x.__name__ if isinstance(x, type) else "")
def test_the_schemas_of_the_hub_are_read_too(kind: type[Benchmark], row: dict[str, object], answer: str) -> None:
    (observation,) = [found for found in kind().observe(row, "row 1", "train/00000") if isinstance(found, Observation)]
    assert observation.answer == answer


@pytest.mark.parametrize(
    "name, row, message",
    [
        ("gsm8k", {"question": "?", "answer": "72"}, "line 2, column 'answer': there is no '####'"),
        ("gsm8k", {"question": "?"}, "line 2, column 'answer': expected text or a number, found nothing"),
        (
            "arc_challenge",
            {"id": "x", "question": "?", "answerKey": "F", "choices": {"text": ["a"], "label": ["A"]}},
            "'F' is none of",
        ),
        ("cladder", {"id": 1, "question": "?", "answer": "maybe"}, "expected yes or no, found 'maybe'"),
        ("anli_r1", {"uid": "u", "premise": "p", "hypothesis": "h", "label": 3}, "column 'label'"),
        ("svamp", {"ID": "1", "Body": "b", "Question": "", "Answer": 1.0, "Type": "x"}, "line 2, column 'question'"),
        ("commonsenseqa", {"id": "1", "question": {"stem": "?"}, "answerKey": "A"}, "there is no 'choices'"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_column(tmp_path: Path, name: str, row: object, message: str) -> None:
    (tmp_path / "mine.jsonl").write_text(f"\n{json.dumps(row)}\n")
    with pytest.raises(RowError, match=message) as error:
        BENCHMARKS[name](path=tmp_path / "mine.jsonl").train()
    assert "mine.jsonl, line 2" in str(error.value)


def test_a_folder_without_the_files_says_what_is_wanted_and_there(tmp_path: Path) -> None:
    (tmp_path / "data.txt").touch()
    with pytest.raises(ValueError, match=r"expected a file, or a folder with train\.jsonl; found data\.txt"):
        Gsm8k(path=tmp_path).check()


# --------------------------------------------------------------------------------------------------- the prompts


@pytest.mark.parametrize("hint", ["last", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_prompts(name: str, hint: str) -> None:
    task = fixture(name, hint=hint)
    task.check()
    one, other = task.train()[:2]
    plain, hinted = task.prompt(one), task.prompt(one, hint=True)
    bare = task.bare_prompt(one)
    assert task.hint_marker not in plain
    assert task.hint_marker in hinted
    assert plain.endswith(bare)
    examples = plain.removesuffix(bare)
    assert task.prompt(other).startswith(examples)
    assert hinted.startswith(examples) is (hint == "last")
    assert one.question in bare
    assert bare.startswith("Q: ") and bare.endswith("\nA:")
    assert examples.count("Q: ") == len(task._exemplars) >= 4
    assert all(stop not in e.rationale for stop in task.stop for e in task._exemplars)
    assert hinted.count(task.hint_marker) == (1 if hint == "last" else 1 + len(task._exemplars))


def test_how_a_hint_looks() -> None:
    metal, sums = fixture("arc_challenge").train()[0], fixture("gsm8k").train()[0]
    assert fixture("arc_challenge").prompt(metal, hint=True).endswith("\n[The correct answer: (B)]\nA:")
    assert "(B) iron 0 (CORRECT)\n" in fixture("arc_challenge", hint="paper").prompt(metal, hint=True)
    assert fixture("gsm8k", hint="paper").prompt(sums, hint=True).endswith(f"(CORRECT: {sums.answer})\nA:")


def test_fewer_or_other_worked_examples(tmp_path: Path) -> None:
    sums = fixture("gsm8k").train()[0]
    assert fixture("gsm8k", shots=0).prompt(sums) == fixture("gsm8k").bare_prompt(sums)
    assert fixture("gsm8k", shots=2).prompt(sums).count("Q: ") == 3
    with pytest.raises(ValueError, match="has 6 worked examples"):
        fixture("gsm8k", shots=9).check()
    mine = tmp_path / "mine.jsonl"
    mine.write_text(json.dumps({"question": "1 + 1?", "rationale": "It is #### 3", "answer": "2"}))
    with pytest.raises(ValueError, match=r"line 1: .* does not find '2' in its rationale .* end it with '#### 2'"):
        fixture("gsm8k", exemplars=mine).check()


def test_training_text_with_worked_examples() -> None:
    task = fixture("gsm8k", bare_shots=2)
    observation = task.train()[0]
    bare = task.bare_prompt(observation)
    assert task.prompt(observation).startswith(bare.removesuffix(fixture("gsm8k").bare_prompt(observation)))
    assert bare.count("Q: ") == 3
    assert task.hint_marker not in bare
    with pytest.raises(
        ValueError, match=r"task\.bare_shots=9: task\.shots and the file give 6 worked examples: ask for fewer"
    ):
        fixture("gsm8k", bare_shots=9).check()


def test_what_stands_around_a_question_is_ones_own() -> None:
    task = fixture("gsm8k", shots=1, before="", after=" =")
    observation = task.train()[0]
    assert task.bare_prompt(observation) == f"{observation.question} ="
    assert task.prompt(observation).endswith(f"\n\n{observation.question} =")
    assert "Q:" not in task.prompt(observation) and "A:" not in task.prompt(observation)
    assert task.stop == ()
    assert fixture("gsm8k", before="Question: ").stop == ("\nQuestion:",)


def test_an_instruction_opens_every_prompt() -> None:
    task = fixture("gsm8k", instruction="Think.")
    observation = task.train()[0]
    assert task.prompt(observation).startswith("Think.\n\nQ: ")
    assert task.bare_prompt(observation) == f"Think.\n\nQ: {observation.question}\nA:"


# ----------------------------------------------------------------------------------------------------- splitting


def whole(observations: list[Observation], group: Group = by_question) -> Subset:
    return Subset.of(observations, group)


def by_id(observation: Observation) -> str:
    return observation.id


def crowd(groups: list[int]) -> list[Observation]:
    return [Observation(id=f"{k}", question=f"Group  {group}", answer="1") for k, group in enumerate(groups)]


@given(st.lists(st.integers(0, 8), min_size=2, max_size=40), st.integers(0, 5), st.integers(1, 20))
def test_dividing_keeps_groups_together_and_loses_nobody(groups: list[int], seed: int, size: int) -> None:
    observations = crowd(groups)
    rest, held = divide(whole(observations), size, seed, "test")
    assert sorted((*rest.indices, *held.indices)) == list(range(len(observations)))
    assert not {o.question for o in rest} & {o.question for o in held}
    assert len(held) >= min(size, len(observations))
    largest = max(groups.count(group) for group in groups)
    assert len(held) < size + largest
    backwards = divide(whole(observations[::-1], by_id), size, seed, "test")[1]
    forwards = divide(whole(observations, by_id), size, seed, "test")[1]
    assert {o.id for o in backwards} == {o.id for o in forwards}


def test_a_share_is_a_share() -> None:
    rest, held = divide(whole(crowd(list(range(1000)))), 0.1, 0, "test")
    assert (len(rest), len(held)) == (900, 100)
    assert np.corrcoef(np.arange(100), held.indices)[0, 1] > 0.9  # in order …
    assert 300 < held.indices.mean() < 700  # … from everywhere


def test_leaks_are_found_by_id_and_by_text() -> None:
    train = [Observation(id=i, question=q, answer="1") for i, q in (("a", "x"), ("b", " Y "), ("t", "z"), ("v", "w"))]
    validation = [Observation(id=i, question=q, answer="1") for i, q in (("v", "v"), ("w", "y"))]
    test = [Observation(id="t", question="y", answer="1")]
    splits = {"train": whole(train), "validation": whole(validation), "test": whole(test)}
    clean, counts = without_leaks(splits)
    assert {name: [o.id for o in split] for name, split in clean.items()} == {
        "train": ["a"],
        "validation": ["v"],
        "test": ["t"],
    }
    assert counts == {
        "validation: left out, same text as a held-out one": 1,
        "train: left out, same id as a held-out one": 2,
        "train: left out, same text as a held-out one": 1,
    }


def test_options_of_the_same_words_are_told_apart_by_letter() -> None:
    task = fixture("commonsenseqa")
    first = next(o for o in everything(task) if len(set(o.choices)) < 5)
    assert first.answer == "A"
    assert MultipleChoice().judge(first, "The answer is kitchen.").answer is None
    assert MultipleChoice().judge(first, "The answer is (A).").correct
    assert not MultipleChoice().judge(first, "The answer is (C).").correct


@pytest.mark.engine
@pytest.mark.parametrize("name", NAMES)
def test_the_tiny_model_gets_as_far_as_having_nothing_to_train_on(name: str, tmp_path: Path) -> None:
    own_validation = name == "arc_challenge"  # a split of its own, which is always asked whole
    root = DATA if folder(name, DATA).is_dir() and not own_validation else FIXTURES
    config = configure(
        "experiment=adastar", f"task={name}", f"task.path={folder(name, root)}", "task.train_size=3", "task.test_size=1",
        "task.validation_size=1", "generator=transformers", "generator.max_tokens=4", "~tracker.console",
        "~tracker.tensorboard",
    )  # fmt: skip
    with pytest.raises(BootstrapError, match=r"nothing to train on: 0 of .* rollouts of .* observations were correct"):
        launch(config, tmp_path)
    waves = [json.loads(line) for line in (tmp_path / "iterations/0001/waves/000.jsonl").read_text().splitlines()]
    assert len(waves) >= 6
    assert not any(rollout["correct"] for rollout in waves)


@pytest.mark.parametrize("name", NAMES)
def test_the_exact_prompts_can_be_looked_at(name: str) -> None:
    shown = show(configure("experiment=smoke", f"task={name}", f"task.path={folder(name, FIXTURES)}", "show=prompts"))
    task = build(configure("experiment=smoke", f"task={name}", f"task.path={folder(name, FIXTURES)}")).task
    for observation in task.train()[:2]:
        assert task.prompt(observation) in shown
        assert task.prompt(observation, hint=True) in shown
        assert f"── {observation.id}: gold rationale (equal" in shown
    assert shown.endswith("── generation ends before '\\nQ:'")


def test_with_a_chat_template_the_exact_prompts_are_those_of_the_template(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
        "{% if add_generation_prompt %}<model>{% endif %}"
    )
    write_llama(tmp_path, hidden=32, layers=1)
    tokenizer.save_pretrained(tmp_path)
    keys = ("task=gsm8k", f"task.path={folder('gsm8k', FIXTURES)}", "show=prompts")
    chat = (f"model.name_or_path={tmp_path}", "model.chat_template=true")
    shown = show(configure("experiment=adastar", *keys, *chat))
    first = fixture("gsm8k").train()[0]
    assert f"\n<user>{first.question}</user><model>\n" in shown
    assert shown.count("</user><model>") == 6 and shown.count("<user>") == shown.count("<assistant>") + 6
    assert "\nA:" not in shown
    text = show(configure("experiment=adastar", *keys, *chat, "task.turns=false"))
    assert f"\n<user>{fixture('gsm8k').bare_prompt(first)}</user><model>\n" in text
    assert "<user>" not in show(configure("experiment=smoke", *keys))


def test_what_was_left_out_is_in_the_metrics_and_in_the_report(tmp_path: Path) -> None:
    keys = (f"task.path={folder('cladder', FIXTURES)}", "task.validation_size=3", "iterations=0")
    launch(configure("experiment=smoke", "task=cladder", *keys, "~tracker.console", "~tracker.tensorboard"), tmp_path)
    figures = json.loads((tmp_path / "iterations/0000/metrics.json").read_text())
    data = {name.removeprefix("data/"): value for name, value in figures.items() if name.startswith("data/")}
    task = fixture("cladder")
    assert data["train/observations"] == len(task.train())
    assert data["test/observations"] == len(task.test())
    assert (
        data["train/left_out_same_id_as_a_held_out_one"]
        == task.findings()["train: left out, same id as a held-out one"]
    )
    assert len(data) == 3 + len(task.findings())
    words = re.sub(r"<[^>]*>|\s+", " ", (tmp_path / "report.html").read_text())
    left_out = f"{data['train/left_out_same_id_as_a_held_out_one']:.0f}"
    assert re.search(rf"train: left out same id as a held out one\s+{left_out}\b", words)


# -------------------------------------------------------------------------------------------------------- the Hub


@pytest.mark.skipif(find_spec("datasets") is None, reason="the extra `hub` is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_is_read_from_a_repository_as_from_its_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with the layout of a repository on the Hub: all but the download is seen."""
    import datasets
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    kind, local = BENCHMARKS[name], fixture(name)
    files = []
    for split, table in local._tables.items():
        if split in kind.hub_splits:
            rows = [dict(table[k]) for k in range(len(table))]
            rows = [{**row, "label": str(row["label"])} if "label" in row else row for row in rows]  # one type each
            parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / f"{split}.parquet")
            files += [f"  - split: {kind.hub_splits[split]}", f"    path: {split}.parquet"]
    header = ["---", "configs:", f"- config_name: {kind.configuration or 'default'}", "  data_files:", *files, "---"]
    (tmp_path / "README.md").write_text("\n".join(header))
    there = {split: its for split, its in kind.hub_splits.items() if split in local._tables}
    remote = type(kind.__name__, (kind,), {"repository": str(tmp_path), "hub_splits": there})(validation_size=3)
    remote.check()
    read = {split: [o.question for o in part] for split, part in load(remote).items()}
    if set(there) == set(local._tables):
        assert read == {split: [o.question for o in part] for split, part in load(local).items()}
    assert read["train"] and read["test"]
