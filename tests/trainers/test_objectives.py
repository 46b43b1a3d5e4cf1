"""The losses that wrong rationales are used in: textbook rounds, TRL's own DPO, and laws of what a step adds up."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy, logsigmoid

from star_loop.launch import launch
from star_loop.models import Model, Pretrained
from star_loop.models.weights import load_beside, load_merged, load_tokenizer
from star_loop.records import Example
from star_loop.run.directory import RunDirectory
from star_loop.trainers import finetuning
from star_loop.trainers.batches import Encoded, normalised, paired, pairs
from star_loop.trainers.forward import Forward
from star_loop.trainers.full import Full
from star_loop.trainers.lora import Lora
from star_loop.trainers.objectives import Rift, RiftTokens, objective_of
from star_loop.trainers.placement import Placement
from star_loop.trainers.students import Adapted
from tests.quiz import configure
from tests.small_models import write_adapter, write_llama
from tests.trainers.test_exploding_loss import SMALL
from tests.trainers.test_lora import example

LOSSES = ["rift", "rift_tokens", "dpo"]
FAST = Lora(r=4, lora_alpha=8, learning_rate=3e-3, epochs=2, batch_size=5, threads=1, warmup_steps=1, max_grad_norm=0.5)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """An earlier round's model, so that the reference is not the base."""
    folder = tmp_path_factory.mktemp("models")
    base = write_llama(folder / "base")
    adapter = write_adapter(base, folder / "adapter", scale=0.05)
    return Model(base=Pretrained(name_or_path=str(base)), adapter=adapter)


def question(i: int) -> list[Example]:
    """Two right rationales and two wrong ones, of several lengths and weights."""
    right = [example(i, str(2 * i) * (1 + i % 3), weight=1.0 + i % 2), example(i, f"it is {2 * i}")]
    wrong = [example(i, str(2 * i + 1), weight=-0.2), example(i, "no" * (1 + i % 4), weight=-0.4)]
    return [right[0], wrong[0], right[1], wrong[1]]


EXAMPLES = [each for i in range(5) for each in question(i)]
EARLIER = FAST.model_copy(update={"r": 8})


def log_likelihoods(model: Any, sequence: Encoded) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([sequence.ids])).logits[0, sequence.prompt - 1 : -1]
    return -cross_entropy(logits, torch.tensor(sequence.ids[sequence.prompt :]), reduction="none")


def textbook(loss: str, model: Any, before: Any, batch: list[Encoded], beta: float, alpha: float) -> torch.Tensor:
    """The papers' equations, one rationale after the other."""
    if loss == "rift_tokens":
        total = sum(
            (-one.weight * logp if one.weight > 0 else -one.weight * logp.exp()).sum()
            for one in batch
            for logp in [log_likelihoods(model, one)]
        )
        return total / sum(len(one.ids) - one.prompt for one in batch)
    if loss == "rift":
        return sum(
            -one.weight * (logp if one.weight > 0 else logp.exp())
            for one in batch
            for logp in [log_likelihoods(model, one).sum()]
        ) / len(batch)
    total = 0
    for pair in batch:
        right, wrong = log_likelihoods(model, pair), log_likelihoods(model, pair.against)
        with torch.no_grad():
            ratio = log_likelihoods(before, pair).sum() - log_likelihoods(before, pair.against).sum()
        preference = -logsigmoid(beta * (right.sum() - wrong.sum() - ratio))
        total += pair.weight * (preference - alpha * right.mean())
    return total / len(batch)


def naive_round(trainer: Lora, model: Any, before: Any, batches: list[list[Encoded]]) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.0, foreach=False)
    for step, batch in enumerate(batches):
        model.zero_grad()
        textbook(trainer.loss, model, before, batch, trainer.dpo_beta, trainer.dpo_alpha).backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
        for p in parameters:
            p.grad *= min(1.0, trainer.max_grad_norm / norm)
        optimizer.param_groups[0]["lr"] = trainer.rate(step, len(batches))
        optimizer.step()


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_round_equals_the_textbooks(start: Model, tmp_path: Path, loss: str, packing: bool) -> None:
    changes = {"loss": loss, "packing": packing, "dpo_beta": 0.3, "dpo_alpha": 0.5, "lora_alpha": 8.0}
    trainer = EARLIER.model_copy(update=changes)
    metrics = trainer.train(EXAMPLES, start, tmp_path, steps=None, seed=0)
    units = trainer._units(trainer._fitting(EXAMPLES, start.base))
    batches = list(trainer.batches(units, None, seed=0))
    assert metrics["steps"] == len(batches) == trainer.total_steps(EXAMPLES, None)
    with Adapted().student(trainer, start, seed=0) as model:
        naive_round(trainer, model, load_merged(start), batches)
        expected = {name.replace(".default", ""): p.detach() for name, p in model.named_parameters() if p.requires_grad}
    written, before = (load_file(place / "adapter_model.safetensors") for place in (tmp_path, start.adapter))
    assert written.keys() == expected.keys()
    assert any((written[name] - before[name]).abs().max() > 3e-3 for name in written)
    for name, value in expected.items():
        torch.testing.assert_close(written[name], value, rtol=1e-2, atol=2e-4)


def test_a_pair_has_the_loss_and_the_gradient_of_trls_dpo_trainer(start: Model, tmp_path: Path) -> None:
    """Both compare with the model that the round starts from; TRL's `sft` is the mean over one pair's right tokens."""
    from datasets import Dataset
    from peft import PeftModel
    from trl import DPOConfig, DPOTrainer

    from star_loop.models.weights import load_model

    beta, alpha = 0.3, 0.7
    settings = FAST.model_copy(update={"loss": "dpo", "dpo_beta": beta, "dpo_alpha": alpha})
    model = PeftModel.from_pretrained(load_model(start.base), str(start.adapter), is_trainable=True)
    tokenizer = load_tokenizer(start.base)
    rows = [{"prompt": right.prompt, "chosen": right.completion, "rejected": wrong.completion}
            for right, wrong, *_ in map(question, range(3))]  # fmt: skip
    config = DPOConfig(
        output_dir=str(tmp_path), beta=beta, loss_type=["sigmoid", "sft"], loss_weights=[1.0, alpha], use_cpu=True,
        bf16=False, report_to="none", per_device_train_batch_size=1, gradient_checkpointing=False, max_length=None,
        train_sampling_strategy="sequential",
    )  # fmt: skip
    theirs = DPOTrainer(model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    ours = [[pair] for i in range(3) for pair in settings._units(settings._fitting(question(i)[:2], start.base))]
    with torch.random.fork_rng(), torch.no_grad():  # the model is some steps further than what it is compared with
        torch.manual_seed(0)
        trained = [p for p in model.parameters() if p.requires_grad]
        for parameter in trained:
            parameter += 0.05 * torch.randn_like(parameter)
    reference = load_beside(start)
    objective = objective_of(settings, ours, lambda group: Forward()(reference, group)[0].detach(), 100)
    for batch, pair in zip(theirs.get_train_dataloader(), ours, strict=True):
        found = []
        for compute in (
            lambda: theirs.compute_loss(theirs.model, batch),  # noqa: B023 (called at once)
            lambda: objective(pair, Forward()(model, pair[0].sequences)[0]),  # noqa: B023
        ):
            model.zero_grad()
            loss = compute()
            loss.backward()
            found.append((loss.detach(), [p.grad.clone() for p in trained]))
        torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_how_a_step_is_cut_does_not_matter(start: Model, loss: str, packed: bool) -> None:
    from star_loop.trainers.attention import attending
    from star_loop.trainers.students import causal_of

    settings = EARLIER.model_copy(update={"loss": loss, "packing": packed})
    batch = settings._units(settings._fitting(EXAMPLES, start.base))
    found = []
    with Adapted().student(settings, start, seed=0) as model, attending(causal_of(model), None, packed):
        student, forward = Placement(model), Forward(packed=packed)
        for budget in (1, 60, 10_000):
            model.zero_grad()
            objective = objective_of(settings, [batch], lambda group: student.frozen(forward, group)[0], budget)
            total, _ = finetuning._accumulate(student, batch, budget, forward, objective)
            found.append((total, torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-3, atol=1e-5)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-2.0, -0.5, 0.0, 1.0, 3.0])), max_size=20))
def test_every_right_one_meets_every_wrong_one_of_its_question(rows: list[tuple[int, float]]) -> None:
    positions, weights = [position for position, _ in rows], [weight for _, weight in rows]
    n = range(len(rows))
    expected = [(i, j) for i in n for j in n if weights[i] > 0 > weights[j] and positions[i] == positions[j]]
    assert pairs(positions, weights) == expected
    encoded = [Encoded(ids=[1, 2, 3], prompt=1, weight=weight) for weight in weights]
    if not expected:
        with pytest.raises(ValueError, match=r"no pair of a right and a wrong .* selectors=pairs"):
            paired(encoded, positions)
        return
    made = paired(encoded, positions)
    assert math.fsum(pair.weight for pair in made) == pytest.approx(len(made))
    scale = made[0].weight / (weights[expected[0][0]] * -weights[expected[0][1]])
    assert [pair.weight for pair in made] == pytest.approx([scale * weights[i] * -weights[j] for i, j in expected])


@given(st.lists(st.floats(0, 2000), min_size=1, max_size=8), st.floats(0.01, 10))
def test_what_a_wrong_rationale_undoes_is_bounded(losses: list[float], size: float) -> None:
    """The gradient of a rationale that is as improbable as can be is 0, where that of -log π has no bound."""
    wrong = Encoded(ids=[0] * (len(losses) + 1), prompt=1, weight=-size)
    for objective, most in ((Rift(), size), (RiftTokens(), size * len(losses))):
        nll = torch.tensor(losses, requires_grad=True)
        loss = objective([wrong], nll)
        loss.backward()
        assert 0 <= loss.item() <= most * (1 + 1e-6)
        assert nll.grad is not None and (-size * (1 + 1e-6) <= nll.grad).all() and (nll.grad <= 0).all()


def preference(model: Any, trainer: Lora, base: Pretrained) -> float:
    units = trainer._units(trainer._fitting(EXAMPLES, base))
    with torch.no_grad():
        return sum(float(log_likelihoods(model, u).sum() - log_likelihoods(model, u.against).sum()) for u in units)


@pytest.mark.parametrize("kind", [Lora, Full])
def test_a_round_prefers_what_is_right(start: Model, tmp_path: Path, kind: type[Lora] | type[Full]) -> None:
    trainer = kind(loss="dpo", dpo_beta=0.5, dpo_alpha=0.0, learning_rate=1e-3, epochs=3, batch_size=4, threads=1)
    begin = Model(base=start.base)
    metrics = trainer.train(EXAMPLES, begin, tmp_path, steps=None, seed=0)
    assert metrics["pairs"] == 20 and metrics["examples"] == 20
    assert metrics["first_loss"] == pytest.approx(math.log(2), rel=0.3)  # nothing is preferred yet
    assert metrics["last_loss"] < metrics["first_loss"]
    before, after = (preference(load_beside(m), trainer, start.base) for m in (begin, Model(base=start.base, adapter=tmp_path)))  # fmt: skip
    assert after > before + 20


def test_flops_of_pairs_count_both_sides_and_the_pass_before(start: Model, tmp_path: Path) -> None:
    from star_loop.accounting.flops import shapes_of

    trainer = EARLIER.model_copy(update={"loss": "dpo", "epochs": 1.0})
    metrics = trainer.train(EXAMPLES, start, tmp_path, steps=None, seed=0)
    units = trainer._units(trainer._fitting(EXAMPLES, start.base))
    sequences = [s for unit in units for s in (unit, unit.against)]
    shapes = shapes_of(start.base)
    read = sum(shapes.prefill(len(s.ids), logits=len(s.ids) - s.prompt) for s in sequences)
    trained = shapes.train([(len(s.ids), len(s.ids) - s.prompt) for s in sequences], trainer.r)
    assert metrics["flops_exact"] == trained + read
    assert metrics["tokens"] == sum(len(s.ids) for s in sequences)


def test_weights_that_a_loss_cannot_use_are_refused() -> None:
    encoded = [Encoded(ids=[1, 2, 3], prompt=1, weight=weight) for weight in (1.0, -1.0)]
    with pytest.raises(ValueError, match=r"not negative and not all 0, found -1\.0 … 1\.0; trainer\.loss=rift or dpo"):
        normalised(encoded)
    with pytest.raises(ValueError, match=r"some of them above 0, found -1\.0 … -1\.0"):
        normalised(encoded[1:], signed=True)


@pytest.mark.engine
def test_a_run_on_pairs_goes_on_from_its_own_model(tmp_path: Path) -> None:
    from star_loop.config.build import build

    small = [key for key in SMALL if not key.startswith(("selectors", "schedule.steps"))]
    task = build(configure(*SMALL)).task
    rows = [
        {"id": each.id, "text": text}
        for each in [*task.train(), *task.validation(), *task.test()]
        for text in (task.gold_text(each), "I do not know.")
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = ("selectors=pairs", "trainer.loss=dpo", "allocator.rollouts=2", f"generator.path={tmp_path}/pool.jsonl", "schedule.steps=2")  # fmt: skip
    for iterations in (1, 2):
        launch(configure(*small, *keys, f"iterations={iterations}"), tmp_path / "run")
    latest = RunDirectory(tmp_path / "run").latest()
    assert latest is not None and latest.number == 2
    figures = latest.metrics()
    assert figures["select/wrong"] == figures["train/pairs"] == figures["train/examples"] / 2
