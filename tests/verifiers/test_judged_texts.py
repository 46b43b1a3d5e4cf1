"""Every judged text is judged so; the file holds all kinds and verifiers, and as many wrong answers as right ones."""

from collections import Counter

import pytest

from benchmarks.verifiers import VERIFIERS, judged_texts, last_number, shares, wrong

TEXTS = list(judged_texts())
KINDS = {f"K{k}" for k in range(1, 17)} | {"units", "doubt", "languages", "other"}


def test_there_are_texts_of_every_kind_and_verifier_half_of_them_wrong() -> None:
    assert len(TEXTS) >= 600
    assert {each.kind for each in TEXTS} >= KINDS
    assert {each.name for each in TEXTS} == {*VERIFIERS, "label"}
    right = sum(each.right for each in TEXTS)
    assert 0.45 < right / len(TEXTS) < 0.55
    asked = Counter((each.name, each.observation.id, each.text) for each in TEXTS)
    assert max(asked.values()) == 1


@pytest.mark.parametrize("kind", sorted({each.kind for each in TEXTS}))
def test_verdicts_are_those_of_a_careful_person(kind: str) -> None:
    assert list(wrong([each for each in TEXTS if each.kind == kind])) == []


def test_precision_and_recall_of_a_rule_that_is_known() -> None:
    said = [last_number(each) for each in TEXTS]
    hits = sum(s and each.right for s, each in zip(said, TEXTS, strict=True))
    assert shares(TEXTS, said) == (hits / sum(said), hits / sum(each.right for each in TEXTS))
    assert shares(TEXTS, [each.right for each in TEXTS]) == (1, 1)
