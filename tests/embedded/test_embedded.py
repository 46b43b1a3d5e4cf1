import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.embedded import TINY
from star_loop.embedded.__main__ import main
from star_loop.embedded.recipe import Recipe
from star_loop.tasks.arithmetic import HINT, Arithmetic, split_of
from star_loop.verifiers.columns import parse

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(TINY)


@given(text=st.text())
def test_any_text_has_an_encoding_and_comes_back(tokenizer, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text


def test_prompts_start_with_bos_and_spelt_out_specials_are_text(tokenizer) -> None:
    assert tokenizer("1").input_ids == [tokenizer.bos_token_id, *tokenizer("1", add_special_tokens=False).input_ids]
    spelt = tokenizer("<eos><pad><bos>", add_special_tokens=False).input_ids
    assert len(spelt) == 15 and not set(spelt) & set(tokenizer.all_special_ids)


def test_the_shipped_model_is_small_and_whole(model, tokenizer) -> None:
    assert 300_000 <= model.num_parameters() <= 1_500_000
    assert (TINY / WEIGHTS).stat().st_size < 6_000_000
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.max_position_embeddings >= 4096
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (
        tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id,
    )  # fmt: skip
    assert model.lm_head.weight is not model.model.embed_tokens.weight


def solved(model, tokenizer, skill: str, level: int, *, hint: bool = False) -> float:
    """Share of 20 validation questions that greedy decoding answers."""
    task = Arithmetic(levels={skill: (level,)}, train_per_level=1, validation_per_level=20, test_per_level=1)
    prompts = tokenizer([task.prompt(o, hint=hint) for o in task.validation()], return_tensors="pt", padding=True,
                        padding_side="left")  # fmt: skip
    out = model.generate(**prompts, do_sample=False, max_new_tokens=120)[:, prompts.input_ids.shape[1] :]
    texts = tokenizer.batch_decode(out, skip_special_tokens=True)
    verdicts = [task.verifier.judge(o, text) for o, text in zip(task.validation(), texts, strict=True)]
    return float(np.mean([v.correct and v.score == 1 for v in verdicts]))


@pytest.mark.parametrize("skill", sorted(Recipe().taught))
def test_the_shipped_model_solves_what_it_was_taught(model, tokenizer, skill: str) -> None:
    assert solved(model, tokenizer, skill, 3) >= 0.8


def test_the_shipped_model_knows_the_hint_form(model, tokenizer) -> None:
    assert solved(model, tokenizer, "addition", 3, hint=True) >= 0.8


def test_the_shipped_model_leaves_something_to_learn(model, tokenizer) -> None:
    assert solved(model, tokenizer, "addition", 12) == 0


def test_the_model_card_names_every_skill_and_the_seed() -> None:
    card = (TINY / "README.md").read_text(encoding="utf-8")
    assert all(f"| {skill} | **" in card for skill in Recipe().taught)
    assert f"| seed | {Recipe().seed} |" in card and f"| steps | {Recipe().steps} |" in card


def test_a_build_is_reproduced_bit_for_bit(tmp_path: Path) -> None:
    short = ["--steps", "4", "--batch", "8", "--per-level", "0"]
    for name in ("one", "two"):
        assert main([*short, "--out", str(tmp_path / name)]) == 0
    assert main([*short, "--seed", "1", "--out", str(tmp_path / "other")]) == 0
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert {WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json", "README.md"} <= set(files)
    for name in files:
        if name != "README.md":  # it tells the time that the build took
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert (tmp_path / "one" / WEIGHTS).read_bytes() != (tmp_path / "other" / WEIGHTS).read_bytes()


def test_a_build_writes_the_architecture_of_the_shipped_model(tmp_path: Path) -> None:
    main(["--steps", "1", "--batch", "2", "--per-level", "0", "--out", str(tmp_path)])
    built, shipped = (json.loads((where / "config.json").read_text()) for where in (tmp_path, TINY))
    version = {"transformers_version": None}
    assert built | version == shipped | version
    assert (tmp_path / "tokenizer.json").read_bytes() == (TINY / "tokenizer.json").read_bytes()


def test_steps_below_one_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["--steps", "0", "--out", str(tmp_path)])
    assert refusal.value.code == 2 and "steps" in capsys.readouterr().err


def in_order(question: str) -> str:
    """The question with its columns put back into the order of their letters."""
    cells = re.findall("[a-z][0-9]+", question)
    return "".join(sorted(cells)) + question[len("".join(cells)) :]


def test_pretraining_sees_the_training_split_of_taught_levels_only() -> None:
    recipe = Recipe()
    pairs = [pair for step in range(40) for pair in recipe.examples(step)]
    hints = shuffled = 0
    for prompt, solution in pairs:
        question = in_order(prompt.rpartition(HINT)[2])
        problem = parse(question)
        assert problem is not None and split_of(problem) == "train"
        assert len(problem.columns) in recipe.taught[problem.skill]
        assert solution == problem.rationale
        hints += HINT in prompt
        shuffled += not prompt.endswith(question)
    assert recipe.hint_share / 2 < hints / len(pairs) < recipe.hint_share * 2
    assert recipe.shuffle_share / 2 < shuffled / len(pairs) < recipe.shuffle_share


def test_positions_rise_from_zero_with_gaps_in_some_examples() -> None:
    positions = np.concatenate([Recipe().positions(step, 100) for step in range(10)])
    jumps = np.diff(positions, axis=1)
    assert (positions[:, 0] == 0).all() and positions.max() < Recipe().context
    assert jumps.min() == 1 and jumps.max() == 1 + Recipe().max_gap
    assert 0.2 < (jumps == 1).all(axis=1).mean() < 0.5
