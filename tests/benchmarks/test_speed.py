"""The benchmark of speed: what a verdict means, that measurements take turns, and that the table goes where it belongs."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed import sizes, table
from benchmarks.speed.chance import Chance
from benchmarks.speed.fresh import encoded
from benchmarks.speed.measuring import Row, alternated, ratios, readable
from star_loop.models import Pretrained
from star_loop.models.weights import load_tokenizer
from star_loop.records import Observation
from star_loop.trainers.lora import Lora

RATIO = Row(what="a", against="b", ours=[4.0], theirs=[2.0], unit="s", figures=[2.0], goal=1.5)


@given(st.lists(st.floats(0.1, 10), min_size=5, max_size=5), st.floats(0.1, 10), st.booleans())
def test_a_goal_is_met_or_missed_by_the_median(figures: list[float], goal: float, at_least: bool) -> None:
    row = Row(what="a", against="", ours=figures, unit="s", figures=figures, goal=goal, at_least=at_least, obstacle="o")
    reached = sorted(figures)[2] >= goal if at_least else sorted(figures)[2] <= goal
    assert row.verdict == "met" if reached else row.verdict.startswith("misses by ") and row.verdict.endswith(": o")
    assert Row.read(json.loads(json.dumps(row.to_json()))).to_json() == json.loads(json.dumps(row.to_json()))


def test_both_are_measured_in_turn_and_each_begins_as_often() -> None:
    asked: list[str] = []

    def one() -> float:
        asked.append("a")
        return float(len(asked))

    def other() -> float:
        asked.append("b")
        return float(len(asked))

    ours, theirs = alternated(one, other, 4)
    assert "".join(asked) == "ab" + "abbaabba"
    assert (len(ours), len(theirs)) == (4, 4)
    assert ratios([6.0, 3.0], [2.0, 6.0]) == [3.0, 0.5]
    assert [readable(x) for x in (0.0341, 1.5, 28765.0)] == ["0.0341", "1.5", "28,800"]


def test_the_table_takes_the_place_between_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "RESULTS", tmp_path / "results")
    conditions = {"date": "2026-01-01 00:00 UTC", "machine": "2 cores", "packages": "torch 2", "load": "0.1"}
    for unit in ("h", "s"):  # a group that is measured again replaces what was kept of it
        row = RATIO.to_json() | {"unit": unit}
        table.keep("tiny", "training", {"conditions": conditions, "rows": [row]})
    begin, end = (mark.format(size="tiny") for mark in table.MARKS)
    document = tmp_path / "speed.md"
    document.write_text(f"before\n{begin}old\n{end}\nafter\n")
    for _ in range(2):
        table.put(document, "tiny")
        text = document.read_text()
        assert text.startswith(f"before\n{begin}| what |") and text.endswith(f"{end}\nafter\n")
        assert "| a | 4 s | b | 2 s | **2 ×** (2–2) | ≥ 1.5 × | met |" in text
        assert "old" not in text and " h |" not in text
    document.write_text("nothing")
    with pytest.raises(ValueError, match="put them where the table belongs"):
        table.put(document, "tiny")


def test_a_random_models_rationales_are_right_by_chance_and_golds_always() -> None:
    verdicts = [Chance().judge(Observation(id=str(k), question="q", answer="1"), "text").correct for k in range(400)]
    assert 140 < sum(verdicts) < 260
    gold = Observation(id="0", question="q", answer="1", rationale="r")
    assert Chance(share=0).judge(gold, "r").correct and not Chance(share=0).judge(gold, "x").correct


def test_the_grown_tokenizer_writes_and_reads_every_token(tmp_path: Path) -> None:
    shape = {**sizes.WIDE, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 300}
    made = sizes.random_llama(tmp_path / "made", shape)
    tokenizer = load_tokenizer(Pretrained(name_or_path=str(made)))
    assert len(tokenizer) == 300
    assert tokenizer("<299><270>", add_special_tokens=False).input_ids == [299, 270]


def test_both_sides_train_on_the_same_tokens() -> None:
    base = Pretrained(name_or_path="tiny")
    tokenizer, given = load_tokenizer(base), sizes.examples(5)
    for example, ours in zip(given, Lora()._units(Lora()._fitting(given, base)), strict=True):
        theirs = encoded(tokenizer, example.prompt, example.completion)
        assert theirs["input_ids"] == list(ours.ids)
        assert theirs["labels"] == [-100] * ours.prompt + list(ours.ids[ours.prompt :])
