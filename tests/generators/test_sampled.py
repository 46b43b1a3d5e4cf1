"""What is trained is what was sampled: the ids, not another spelling of the text."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.generators.sampled import read_sampled
from star_loop.generators.transformers import Transformers
from star_loop.models import Model, Pretrained
from star_loop.models.weights import encode_completion
from star_loop.records import Example, Observation, Request, Sampling
from star_loop.trainers.lora import Lora
from tests.quiz import configure
from tests.small_models import LETTERS, byte_tokenizer, write_llama

BOS, EOS, TURN_END = LETTERS, LETTERS + 1, 7


def merging_tokenizer():
    """The bytes, and `12` as a token of its own, which encoding always takes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(alphabet)} | {"<eos>": EOS, "12": EOS + 1}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("1", "2")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


def test_a_text_whose_encoding_differs_is_trained_as_it_was_sampled() -> None:
    tokenizer = merging_tokenizer()
    digits = [*(tokenizer.convert_tokens_to_ids(digit) for digit in "12"), EOS]
    text, ids = read_sampled(tokenizer, digits, ended=True, stop=(), end=EOS)
    assert text == "12" and ids == digits != encode_completion(tokenizer, text) == [EOS + 1, EOS]


def test_the_trainer_learns_the_sampled_ids() -> None:
    base = build(configure()).model
    written, spelt = Example(position=0, id="a", prompt="q5r6=", completion="#q1"), [5, 6, 7]
    sampled = Example(position=0, id="a", prompt="q5r6=", completion="#q1", ids=spelt)
    encoded = Lora()._units(Lora()._fitting([written, sampled], base))
    assert list(encoded[1].ids[encoded[1].prompt :]) == spelt != list(encoded[0].ids[encoded[0].prompt :])
    assert encoded[0].ids[: encoded[0].prompt] == encoded[1].ids[: encoded[1].prompt]


def test_reasoning_has_no_loss_where_it_is_not_learned() -> None:
    tokenizer = byte_tokenizer()
    ids = encode_completion(tokenizer, "2+2</think> 4")
    asked = [Example(position=0, id="a", prompt="?", completion="2+2</think> 4", ids=ids)]
    base = build(configure()).model
    whole, reply = (Lora(thinking=thinking)._fitting(asked, base)[0][1] for thinking in (True, False))
    assert whole.ids == reply.ids and reply.losses < whole.losses == len(ids)


def test_a_special_token_is_kept_and_shown() -> None:
    tokenizer = byte_tokenizer()
    sampled = [*encode_completion(tokenizer, "a")[:-1], BOS, *encode_completion(tokenizer, "b")]
    assert read_sampled(tokenizer, sampled, ended=True, stop=(), end=EOS) == ("a<bos>b", sampled)


@given(st.text(max_size=20), st.text(min_size=1, max_size=3), st.text(max_size=3), st.booleans())
def test_what_a_stop_string_cut_off_is_not_trained(before: str, stop: str, after: str, merging: bool) -> None:
    tokenizer = merging_tokenizer() if merging else byte_tokenizer()
    sampled = encode_completion(tokenizer, before + stop + after)[:-1]
    whole = tokenizer.decode(sampled)
    text, ids = read_sampled(tokenizer, sampled, ended=False, stop=(stop,), end=TURN_END)
    assert text == whole[: whole.index(stop)]
    assert ids[-1] == TURN_END and tokenizer.decode(ids[:-1]) == text


def test_what_max_tokens_cut_off_has_no_end() -> None:
    tokenizer = byte_tokenizer()
    sampled = encode_completion(tokenizer, "and so")[:-1]
    assert read_sampled(tokenizer, sampled, ended=False, stop=("\nQ:",), end=EOS) == ("and so", sampled)


def test_a_token_that_the_tokenizer_does_not_know_is_kept_and_shown() -> None:
    tokenizer = byte_tokenizer()
    a, b, unknown = (*tokenizer("ab", add_special_tokens=False).input_ids, len(tokenizer) + 40)
    assert read_sampled(tokenizer, [a, unknown, b, EOS], ended=True, stop=(), end=EOS) == (
        "a\N{REPLACEMENT CHARACTER}b",
        [a, unknown, b, EOS],
    )


def test_a_model_with_more_rows_than_its_tokenizer_has_tokens_generates_and_is_trained(tmp_path: Path) -> None:
    base = Pretrained(name_or_path=str(write_llama(tmp_path / "base", spare=2000)))
    asked = Request(prompt="a", observation=Observation(id="1", question="a", answer="b"),
                    sampling=Sampling(temperature=1.0, max_tokens=8), n=4, seed=0)  # fmt: skip
    with Transformers().engine(base, workspace=tmp_path, seed=0) as engine:
        ((first, *_),) = engine.generate([asked], seed=0)
    assert "\N{REPLACEMENT CHARACTER}" in first.text and max(first.ids) > LETTERS + 3
    learned = Example(position=0, id="1", prompt="a", completion=first.text, ids=first.ids)
    (tmp_path / "adapter").mkdir()
    trained = Lora(r=2, threads=1).train([learned], Model(base=base), tmp_path / "adapter", steps=1, seed=0)
    assert trained["examples"] == 1
