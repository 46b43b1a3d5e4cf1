"""Reward models mark as their heads say, computed here once more by hand; one without a head is refused."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaForSequenceClassification, LlamaForTokenClassification

from star_loop.records import Observation
from star_loop.rewards.models import Classifier, ProcessRewardModel, RewardModel, combined, conversation
from tests.small_models import byte_tokenizer, write_llama

ASKED = Observation(id="1", question="2 + 2?", answer="4")
TEXTS = ["Two and two.\n\nIt is 4.", "5", "", "x" * 600]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("base"))


def headed(base: Path, into: Path, kind: type, labels: int) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        kind.from_pretrained(base, num_labels=labels).save_pretrained(into)
    byte_tokenizer().save_pretrained(into)
    return Classifier(name_or_path=str(into))


@pytest.mark.parametrize("labels", [1, 2])
def test_a_reward_model_marks_the_whole_conversation(base: Path, tmp_path: Path, labels: int) -> None:
    pretrained = headed(base, tmp_path / "rm", LlamaForSequenceClassification, labels)
    marks = RewardModel(model=pretrained).marks([(ASKED, text) for text in TEXTS])
    model = LlamaForSequenceClassification.from_pretrained(tmp_path / "rm").eval().requires_grad_(False)
    for text, mark in zip(TEXTS[:3], marks, strict=False):
        ids = conversation(byte_tokenizer(), "2 + 2?", text)
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
        assert mark == pytest.approx(float(logits.sigmoid() if labels == 1 else logits.softmax(-1)[1]), abs=1e-6)
    assert marks[3] is None, "longer than the context"


def test_a_process_reward_model_marks_each_step_at_its_end(base: Path, tmp_path: Path) -> None:
    pretrained = headed(base, tmp_path / "prm", LlamaForTokenClassification, 2)
    model = LlamaForTokenClassification.from_pretrained(tmp_path / "prm").eval().requires_grad_(False)
    text = "2 + 2?\nTwo and two.\nIt is 4.\n"
    ids = byte_tokenizer()(text).input_ids
    right = model(input_ids=torch.tensor([ids])).logits[0].double().softmax(-1)[:, 1]
    ends = [place + 1 for place, letter in enumerate(text) if letter == "\n"][1:]  # <bos> stands before them
    steps = right[ends].tolist()
    for how in ("min", "product", "mean", "last"):
        marks = ProcessRewardModel(model=pretrained, combine=how).marks([(ASKED, each) for each in TEXTS])
        assert marks[0] == pytest.approx(combined(steps, how), abs=1e-6)
        assert marks[2:] == [None, None], "no step, and longer than the context"


def test_weights_that_are_not_there_are_named_before_anything_starts() -> None:
    with pytest.raises(ValueError, match=r"^reward\.model\.name_or_path: no directory '/nowhere'"):
        RewardModel(model=Classifier(name_or_path="/nowhere")).check()


def test_what_has_no_head_or_too_many_classes_is_refused(base: Path, tmp_path: Path) -> None:
    for kind in (RewardModel, ProcessRewardModel):
        with pytest.raises(ValueError, match=r"its weights lack score\.(weight|bias)"):
            kind(model=Classifier(name_or_path=str(base))).marks([(ASKED, "4")])
    three = headed(base, tmp_path / "three", LlamaForSequenceClassification, 3)
    with pytest.raises(ValueError, match="tells 3 classes apart"):
        RewardModel(model=three).marks([(ASKED, "4")])
    assert RewardModel(model=three).marks([]) == []
