"""Prompts as messages: what a chat template is given, what it must heed, and how a reply ends."""

import re
from pathlib import Path
from typing import Any

import pytest

from star_loop.config.build import build
from star_loop.models import Pretrained
from star_loop.models.chat import attempt, check, end_of_turn, render, thinking_length
from star_loop.models.weights import encode_completion, encode_prompt, end_tokens, load_model, load_tokenizer
from star_loop.protocols import Task
from star_loop.records import TURN
from star_loop.stages.load import check as check_experiment
from star_loop.tasks.word_problems import WordProblems
from tests.quiz import QUIZ, configure
from tests.small_models import byte_tokenizer, write_llama

PLAIN = (
    "{% for m in messages %}<turn>{{ m.role }}:{{ m.content }}</turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant:{% if think %}<think>{% endif %}{% endif %}"
)
DROPS_SYSTEM = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
FAILS = "{{ raise_exception('roles must alternate') }}"


def chatty(template: str = PLAIN) -> Any:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>", "</turn>"]})
    tokenizer.chat_template = template
    return tokenizer


def model(**keys: Any) -> Pretrained:
    return Pretrained(name_or_path="nobody/chatty", chat_template=True, **keys)


def test_a_prompt_is_the_user_s_message_after_the_system_s() -> None:
    assert render(chatty(), "hi", model()) == "<turn>user:hi</turn>\n<turn>assistant:"
    spoken = render(chatty(), "hi", model(system_prompt="Be brief."))
    assert spoken == "<turn>system:Be brief.</turn>\n<turn>user:hi</turn>\n<turn>assistant:"


def test_turns_alternate() -> None:
    turns = render(chatty(), TURN.join(["1+1?", "2", "2+2?"]), model())
    assert turns == "<turn>user:1+1?</turn>\n<turn>assistant:2</turn>\n<turn>user:2+2?</turn>\n<turn>assistant:"


def test_arguments_reach_the_template() -> None:
    assert render(chatty(), "hi", model(template_arguments={"think": True})).endswith("<turn>assistant:<think>")


def test_a_reply_ends_as_the_template_ends_it(tmp_path: Path) -> None:
    tokenizer, bare = chatty(), Pretrained(name_or_path="nobody/chatty")
    turn = tokenizer.convert_tokens_to_ids("</turn>")
    assert end_of_turn(tokenizer, model()) == turn != tokenizer.eos_token_id
    assert end_of_turn(tokenizer, bare) == tokenizer.eos_token_id
    assert end_of_turn(chatty(DROPS_SYSTEM), model()) == tokenizer.eos_token_id, "a template that closes nothing"
    assert encode_completion(tokenizer, "2", model())[-1] == turn
    assert encode_completion(tokenizer, "2")[-1] == tokenizer.eos_token_id
    loaded = load_model(Pretrained(name_or_path=str(write_llama(tmp_path))))
    assert end_tokens(loaded, tokenizer, model()) == [turn, tokenizer.eos_token_id]


def test_the_template_s_own_tokens_are_tokens_and_the_bos_stands_once() -> None:
    tokenizer = chatty("{{ bos_token }}" + PLAIN)
    ids = encode_prompt(tokenizer, "hi", model())
    assert ids.count(tokenizer.bos_token_id) == 1 and ids.count(tokenizer.convert_tokens_to_ids("<turn>")) == 2


@pytest.mark.parametrize(
    ("template", "keys", "message"),
    [
        (None, {}, r"model\.chat_template=true, but the tokenizer of 'nobody/chatty' has none"),
        (PLAIN, {"template_arguments": {"enable_thinking": False}}, r"ignores enable_thinking"),
        (DROPS_SYSTEM, {"system_prompt": "Be brief."}, r"drops model\.system_prompt"),
        (FAILS, {}, r"the chat template of 'nobody/chatty' fails: .*alternate"),
        ("hello", {}, r"the chat template of 'nobody/chatty' drops the question$"),
        ("{% if messages|length > 1 %}" + FAILS + "{% endif %}x", {}, r"fails: .*alternate"),
    ],
)
def test_what_a_template_does_not_heed_is_an_error(template: str | None, keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(chatty(template), model(**keys))


def test_what_belongs_to_a_template_needs_one() -> None:
    with pytest.raises(ValueError, match=r"need model\.chat_template=true"):
        Pretrained(name_or_path="tiny", system_prompt="Be brief.").check()
    with pytest.raises(ValueError, match=r"task\.turns=true needs a model with a chat template"):
        check_experiment(build(configure(*QUIZ, "task.turns=true")))


def test_models_with_other_arguments_are_others() -> None:
    one, other = model(template_arguments={"think": True}), model(template_arguments={"think": False})
    assert one != other and hash(one) == hash(model(template_arguments={"think": True})) != hash(other)


def test_the_template_is_tried_before_the_engine_starts(tmp_path: Path) -> None:
    write_llama(tmp_path, hidden=32, layers=1)
    chatty().save_pretrained(tmp_path)
    keys = (f"model.name_or_path={tmp_path}", "model.chat_template=true")
    check_experiment(build(configure("task=word_problems", *keys)))
    with pytest.raises(ValueError, match="ignores thinking"):
        check_experiment(build(configure("task=word_problems", *keys, "model.template_arguments={thinking: true}")))
    assert load_tokenizer(Pretrained(name_or_path=str(tmp_path))).chat_template == PLAIN


def test_worked_examples_are_turns_or_text() -> None:
    text, turns = WordProblems(shots=2), WordProblems(shots=2, turns=True)
    observation = text.train()[0]
    parts = turns.prompt(observation).split(TURN)
    assert len(parts) == 5 and parts[-1] == observation.question and "Q:" not in turns.prompt(observation)
    assert parts[0].startswith(text.instruction or "") and parts[1].endswith("#### " + parts[1].split()[-1])
    assert TURN not in text.prompt(observation) and turns.stop == () != text.stop
    assert turns.bare_prompt(observation).split(TURN) == [f"{text.instruction}\n\n{observation.question}"]


def asked(*keys: str) -> Task:
    return build(configure(*keys)).task


CHAT = "model.chat_template=true"
NUMBERS = ["task=file", "task.question=q", "task.answer=a"]


def test_with_a_chat_template_nothing_dangles_before_the_turns_end(tmp_path: Path) -> None:
    """Whatever asks in `Q:` and `A:` asks in turns, unless it is told otherwise, or given a frame."""
    (tmp_path / "my.jsonl").write_text("".join(f'{{"q": "{k} + 1?", "a": "{k + 1}"}}\n' for k in range(30)))
    mine = [*NUMBERS, f"task.path={tmp_path}/my.jsonl"]
    mixture = ["task=mixture", "+task@task.tasks.a=word_problems", "+task@task.tasks.b=arithmetic"]
    for keys in (["task=word_problems"], mine, ["task=arithmetic"], mixture):
        task, plain = asked(*keys, CHAT), asked(*keys)
        for observation in (*task.train()[:2], task.train()[-1]):
            for prompt in (task.prompt(observation), task.bare_prompt(observation)):
                assert not re.search(r"(^|\n)[QA]:", prompt)
        assert any(plain.prompt(o).endswith("\nA:") for o in plain.train()) == ("task=arithmetic" not in keys)
    for more in ("task.turns=false", 'task.before="Question: "', 'task.after="\nAnswer:"'):
        framed = asked("task=word_problems", CHAT, more)
        assert TURN not in (prompt := framed.prompt(framed.train()[0])) and prompt.endswith(":")
    first, together = asked(*mixture).train()[0], asked(*mixture, CHAT, "task.turns=false")
    assert first.id.startswith("a/") and together.prompt(first).endswith("\nA:")


def test_a_template_that_takes_one_message_is_named_with_what_to_write(tmp_path: Path) -> None:
    write_llama(tmp_path, hidden=32, layers=1)
    single = "{% if messages|length > 2 %}{{ raise_exception('two messages') }}{% endif %}{{ messages[0].content }}"
    chatty(single).save_pretrained(tmp_path)
    keys = ("task=word_problems", f"model.name_or_path={tmp_path}", CHAT)
    check_experiment(build(configure(*keys, "task.turns=false")))
    with pytest.raises(ValueError, match=r"fails on 13 messages: .*two messages: set task\.turns=false"):
        check_experiment(build(configure(*keys)))


def test_reasoning_ends_with_its_end() -> None:
    tokenizer = byte_tokenizer()
    for thought, reply in (("<think>2+2</think>", " 4"), ("2+2</think>", ""), ("", "no reasoning")):
        assert thinking_length(tokenizer, encode_completion(tokenizer, thought + reply)) == len(thought)


def test_a_template_that_takes_the_first_message_alone_drops_the_question() -> None:
    first = chatty("{{ messages[0].content }}{% if add_generation_prompt %}A:{% endif %}")
    assert attempt(first, "How much?", model()).startswith("How much?")
    with pytest.raises(ValueError, match=r"drops the question on 3 messages: set task\.turns=false"):
        attempt(first, TURN.join(["One?", "1", "Two?"]), model())
