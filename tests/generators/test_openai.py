"""A teacher behind a server: what it is asked, what is made of its replies, and who answers what."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.errors import EngineError
from star_loop.generators.openai import OpenAI, sampling_fields, shared
from star_loop.generators.scripted import NoWeights, Scripted
from star_loop.models import Model
from star_loop.protocols import BootstrapError
from star_loop.records import TURN, Completion, Observation, Request, Rollout, Sampling
from star_loop.report import write as write_report
from star_loop.run.directory import RunDirectory
from tests.quiz import play
from tests.scripted_server import MODEL, Answer, Asked, chat, failure, scripted_server

BASE = NoWeights()
FREE = Sampling(temperature=1.0, max_tokens=24)


def request(prompt: str = "Q: 2 + 2?\nA:", n: int = 1, sampling: Sampling = FREE, **fields) -> Request:
    observation = Observation(id="q/0", question="2 + 2?", answer="4")
    return Request(prompt=prompt, observation=observation, n=n, sampling=sampling, seed=5, **fields)


def draw(
    behaviour, asked: list[Request], tmp_path: Path, base=BASE, **settings
) -> tuple[list[list[Completion]], list[Asked]]:
    with scripted_server(behaviour) as server:
        generator = OpenAI(base_url=server.url, retries=1, **settings)
        with generator.engine(base, workspace=tmp_path, seed=0) as engine:
            return engine.generate(asked, seed=0), server.asked


def several(asked: Asked) -> Answer:
    return chat(*(f"text {k}" for k in range(asked.body.get("n", 1))), tokens=2 * asked.body.get("n", 1))


def test_a_prompt_is_a_message_and_the_reply_continues_it(tmp_path: Path) -> None:
    sampling = Sampling(temperature=0.5, max_tokens=24, top_p=0.9, top_k=3, stop=("\nQ:",))
    [drawn], asked = draw(several, [request(n=2, sampling=sampling)], tmp_path, system_prompt="Be brief.")
    assert [c.text for c in drawn] == [" text 0", " text 1"]
    assert [(c.tokens, c.prompt_tokens, c.finish, c.ids) for c in drawn] == [(2, 7, "stop", None)] * 2
    body = asked[0].body
    assert 0 <= body.pop("seed") < 2**31
    assert body == {
        "model": MODEL, "n": 2, "max_tokens": 24, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "stop": ["\nQ:"],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q: 2 + 2?\nA:"}],
    }  # fmt: skip


def test_turns_are_messages_and_a_chat_model_needs_no_space(tmp_path: Path) -> None:
    base = NoWeights(chat_template=True)
    [drawn], asked = draw(several, [request(TURN.join(["one", "two", "three"]))], tmp_path, base)
    assert drawn[0].text == "text 0"
    assert [message["role"] for message in asked[0].body["messages"]] == ["user", "assistant", "user"]


def test_a_base_model_continues_the_prompt_itself(tmp_path: Path) -> None:
    def continued(asked: Asked) -> Answer:
        assert asked.path == "/v1/completions"
        choices = [{"text": asked.body["prompt"][-2:] + " four\nQ: more", "finish_reason": "length"}]
        return Answer({"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 9}})

    sampling = Sampling(temperature=1.0, max_tokens=9, stop=("\nQ:",))
    [drawn], _ = draw(continued, [request(sampling=sampling)], tmp_path, api="completions")
    assert drawn == [Completion(text="A: four", tokens=9, prompt_tokens=5, finish="length")]


def test_a_server_that_ignores_n_is_asked_again_by_other_seeds(tmp_path: Path) -> None:
    [drawn], asked = draw(lambda a: chat(f"only {a.number}"), [request(n=3)], tmp_path, concurrency=1)
    assert [c.text for c in drawn] == [" only 0", " only 1", " only 2"]
    assert len({a.body["seed"] for a in asked}) == 3


def test_greedy_samples_are_drawn_once(tmp_path: Path) -> None:
    [drawn], asked = draw(
        several, [request(n=3, sampling=Sampling(temperature=0.0, max_tokens=9, top_p=0.5))], tmp_path
    )
    assert [c.text for c in drawn] == [" text 0"] * 3
    assert len(asked) == 1
    assert "top_p" not in asked[0].body and "n" not in asked[0].body


@pytest.mark.parametrize(("reasoning", "text"), [("drop", " 4"), ("keep", "<think>\nhm\n</think>\n\n4")])
def test_reasoning_is_dropped_or_put_before(tmp_path: Path, reasoning: str, text: str) -> None:
    def thinks(_: Asked) -> Answer:
        message = {"role": "assistant", "content": "4", "reasoning": "hm\n"}
        return Answer({"choices": [{"message": message, "finish_reason": "stop"}]})

    base = NoWeights(chat_template=True) if reasoning == "keep" else BASE
    [[drawn]], _ = draw(thinks, [request()], tmp_path, base, reasoning=reasoning)
    assert drawn.text == text


def test_a_content_of_parts_is_one_text(tmp_path: Path) -> None:
    def parts(_: Asked) -> Answer:
        message = {"content": [{"type": "text", "text": "2 + 2 "}, {"type": "text", "text": "= 4"}],
                   "reasoning_content": [{"type": "text", "text": "hm"}]}  # fmt: skip
        return Answer({"choices": [{"message": message, "finish_reason": "stop"}]})

    [[drawn]], _ = draw(parts, [request()], tmp_path)
    assert drawn.text == " 2 + 2 = 4"
    base = NoWeights(chat_template=True)
    [[drawn]], _ = draw(parts, [request()], tmp_path, base, reasoning="keep")
    assert drawn.text == "<think>\nhm\n</think>\n\n2 + 2 = 4"


def test_a_server_that_answered_nobody_once_spoils_no_run(tmp_path: Path) -> None:
    mended = False
    with scripted_server(lambda asked: answers(asked) if mended else chat()) as server:
        keys = (*TEACHER, "iterations=1", "schedule.quota=null", "second_try=none",
                f"generator.base_url={server.url}", "generator.retries=0")  # fmt: skip
        with pytest.raises(EngineError, match=r"train/\d+, as 4 before it: http.* nothing \(1 times; .*raise retries="):
            play(tmp_path, *keys)
        mended, begun = True, len(server.asked)
        play(tmp_path, *keys)
        assert 0 < len(server.asked) - begun <= 12
    assert written(tmp_path, 1) == {"taught", ""}, "the first four were left out, until it was clear"


def test_an_empty_reply_is_a_text_like_any_other(tmp_path: Path) -> None:
    refused = Answer({"choices": [{"message": {"content": None, "refusal": "no"}, "finish_reason": "content_filter"}]})
    [[drawn]], _ = draw(lambda _: refused, [request()], tmp_path)
    assert (drawn.text, drawn.finish) == ("", "stop")


def test_a_prompt_that_is_too_long_is_left_out_and_other_refusals_end_the_call(tmp_path: Path, caplog) -> None:
    said = "This model's maximum context length is 8 tokens. Please reduce the length of the messages."
    [drawn], _ = draw(lambda _: failure(400, said), [request(n=2)], tmp_path)
    assert drawn == [Completion(text="", tokens=0, prompt_tokens=0, finish="length")] * 2
    assert "q/0 is left out, its prompt is too long" in caplog.text
    with pytest.raises(EngineError, match=r"q/0, as 4 before it: .*without=\[…\]: unknown field: seed"):
        draw(lambda _: failure(400, "unknown field: seed"), [request(str(k)) for k in range(9)], tmp_path)
    with pytest.raises(EngineError, match=r"refuses the key|wants a key"):
        draw(lambda _: failure(401), [request()], tmp_path)


FILTERED = {"no choice": chat(), "a refusal": failure(400, "the prompt is filtered", "content_filter")}


@pytest.mark.parametrize("answer", FILTERED.values(), ids=FILTERED)
def test_a_question_that_is_never_answered_is_left_out(answer: Answer, tmp_path: Path, caplog) -> None:
    """Or every launch would end at it; here every second one is filtered, so that no five come in a row."""

    def every_second(asked: Asked) -> Answer:
        return several(asked) if int(asked.body["messages"][0]["content"]) % 2 else answer

    drawn, _ = draw(every_second, [request(str(k), n=2) for k in range(12)], tmp_path, concurrency=1)
    assert [[c.text for c in each] for each in drawn] == [["", ""], [" text 0", " text 1"]] * 6
    assert {c.finish for each in drawn for c in each} == {"stop"}
    assert caplog.text.count("q/0 is left out: http") == 6


TOO_MANY = [
    "max_tokens=256 cannot be greater than max_model_len=max_total_tokens=200. Please request fewer output tokens.",
    "'max_tokens' or 'max_completion_tokens' is too large: 256. This model's maximum context length is 200 tokens and your "
    "request has 10 input tokens (256 > 200 - 10).",
    "max_tokens is too large: 256. This model supports at most 200 completion tokens, whereas you provided 256.",
    "This model's maximum context length is 200 tokens. However, you requested 266 tokens (10 in the messages, 256 in the "
    "completion). Please reduce the length of the messages or completion.",
    "This model's maximum context length is 200 tokens. However, you requested 256 output tokens and your prompt contains "
    "at least 10 input tokens, for a total of at least 266 tokens. Please reduce the length of the input prompt.",
    "Requested token count exceeds the model's maximum context length of 200 tokens. You requested a total of 266 tokens: "
    "10 tokens from the input messages and 256 tokens for the completion.",
    "`max_tokens` must be less than or equal to `200`, the maximum value for this model",
]
"""Of vLLM, OpenAI, SGLang and Groq, for a prompt of 10 tokens and 256 after it."""


@pytest.mark.parametrize("said", TOO_MANY)
def test_tokens_that_leave_no_room_for_a_prompt_end_the_call(tmp_path: Path, said: str) -> None:
    many = Sampling(temperature=1.0, max_tokens=256)
    with pytest.raises(EngineError, match=r"^generator\.max_tokens=256 leaves http.* no room .* of q/0: lower it"):
        draw(lambda _: failure(400, said), [request(sampling=many)], tmp_path)


@pytest.mark.parametrize("said", [
    "This model's maximum context length is 2048 tokens. However, your prompt contains 2100 input tokens, which exceeds this "
    "limit even without any output tokens. Please reduce the length of the input prompt.",
    "'max_tokens' or 'max_completion_tokens' is too large: 256. This model's maximum context length is 2048 tokens and your "
    "request has 1900 input tokens (256 > 2048 - 1900).",
    "Input length (2100) exceeds model's maximum context length (2048).",
])  # fmt: skip
def test_a_prompt_that_takes_most_of_the_context_is_left_out(tmp_path: Path, said: str, caplog) -> None:
    [[drawn]], _ = draw(
        lambda _: failure(400, said), [request(sampling=Sampling(temperature=1.0, max_tokens=256))], tmp_path
    )
    assert (drawn.finish, drawn.tokens) == ("length", 0) and "its prompt is too long" in caplog.text


def test_more_tokens_than_the_server_has_room_for_are_refused_before_anything_starts() -> None:
    cards = [{"id": "other", "max_model_len": 10}, {"id": MODEL, "max_model_len": 200}]
    with scripted_server(several, listing={"data": cards}) as server:
        OpenAI(base_url=server.url, model=MODEL, max_tokens=200).check()
        with pytest.raises(
            ValueError, match=r"max_tokens=201 is more than http.* 200 tokens .*: lower generator\.max_"
        ):
            OpenAI(base_url=server.url, model=MODEL, max_tokens=201).check()
    with scripted_server(several, listing={"data": [{"id": MODEL, "max_model_len": "long"}]}) as server:
        OpenAI(base_url=server.url, model=MODEL, max_tokens=201).check()


@given(st.integers(0, 10**6), st.lists(st.text(max_size=50), min_size=1, max_size=9))
def test_shared_tokens_are_all_the_tokens(tokens: int, texts: list[str]) -> None:
    parts = shared(tokens, texts)
    assert sum(parts) == tokens and len(parts) == len(texts) and min(parts) >= 0
    whole = sum(len(text) + 1 for text in texts)
    assert all(abs(part - tokens * (len(text) + 1) / whole) <= 1 for part, text in zip(parts, texts, strict=True))


def test_only_four_stop_strings_are_sent() -> None:
    assert len(sampling_fields(Sampling(temperature=1.0, max_tokens=1, stop=tuple("abcdef")))["stop"]) == 4


def test_until_needs_a_student() -> None:
    with pytest.raises(ValueError, match="until needs a student that goes on"):
        OpenAI(until=1).check()


def test_a_budget_of_thinking_is_the_servers_own_affair() -> None:
    with pytest.raises(ValueError, match="thinking_tokens is for an engine of one's own"):
        OpenAI(thinking_tokens=9).check()


def answers(asked: Asked) -> Answer:
    """The quiz's answers, told wrongly for one question."""
    number = asked.body["messages"][-1]["content"].split("What is ")[1].split(" ")[0]
    return chat("taught: I do not know" if number == "3" else f"taught: it is {number}.\n#### {number}")


TEACHER = ("generator=openai", "generator@generator.student=scripted", "generator.model=null")


def written(directory: Path, iteration: int) -> set[str]:
    return {rollout.text.strip()[:6] for rollout in RunDirectory(directory).iteration(iteration).rollouts()}


def test_a_teacher_writes_the_first_iteration_and_the_student_the_rest(tmp_path: Path) -> None:
    with scripted_server(answers) as server:
        play(tmp_path, *TEACHER, f"generator.base_url={server.url}", "generator.until=1", "generator.student.table=[1.0]",
             "generator.price_output=1000000", "evaluation.samples=2", "schedule.quota=null")  # fmt: skip
        asked = len(server.asked)
    run = RunDirectory(tmp_path)
    assert written(tmp_path, 1) == {"taught"}
    assert written(tmp_path, 2) == written(tmp_path, 3) == {"It is "}
    assert asked == 12 + 1  # every training question once, and 3 again; nothing held-out
    for iteration in range(4):
        lines = (run.iteration(iteration).path / "validation.jsonl").read_text().splitlines()
        assert {Rollout.from_json(line).text[:6] for line in lines} == {"It is "}
    usages = [json.loads(line)["usage"] for line in (tmp_path / ".engine/requests.jsonl").open()]
    assert len(usages) == asked
    figures = [run.iteration(iteration).metrics() for iteration in range(4)]
    assert [each["machine/teacher_requests"] for each in figures] == [0, 13, 13, 13]
    tokens = sum(usage["completion_tokens"] for usage in usages)
    assert figures[1]["machine/teacher_money"] == figures[1]["machine/teacher_generated_tokens"] == tokens > 13
    assert figures[1]["machine/teacher_prompt_tokens"] == 7 * 13
    page = write_report(tmp_path).read_text()
    assert f"teacher: money</th><td>0</td><td>{tokens}.00</td>" in page and "judge: " not in page


def test_a_run_that_a_server_failed_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    broken = True

    def fails(asked: Asked) -> Answer:
        return failure(500, "down", retry_after_ms="1") if broken and asked.number >= 6 else answers(asked)

    overrides = (*TEACHER, "iterations=1", "schedule.quota=null", "generator.retries=0", "second_try=none")
    with scripted_server(fails) as server:
        url = f"generator.base_url={server.url}"
        with pytest.raises(EngineError, match=r"does not answer .*down"):
            play(tmp_path / "failed", *overrides, url, "generator.concurrency=2")
        broken, good = False, [a.body for a in server.asked[:6]]
        begun = len(server.asked)
        play(tmp_path / "failed", *overrides, url, "generator.concurrency=3")
        assert len(server.asked) == begun + 6
        assert not any(a.body in good for a in server.asked[begun:])
        play(tmp_path / "whole", *overrides, url)
    one, other = (RunDirectory(tmp_path / name).iteration(1) for name in ("failed", "whole"))
    assert list(one.rollouts()) == list(other.rollouts())


def test_a_teacher_that_knows_nothing_ends_the_run_in_words(tmp_path: Path) -> None:
    with scripted_server(lambda _: chat("no idea")) as server, pytest.raises(BootstrapError):
        play(tmp_path, *TEACHER, f"generator.base_url={server.url}", "iterations=1")


def test_iterations_are_counted_by_adapters(tmp_path: Path) -> None:
    for folder, number in (("iterations/0007/adapter", 7), ("preparation/x/adapters/y", 0)):
        assert Model(base=BASE, adapter=tmp_path / folder).iteration == number
    assert Model(base=BASE).iteration == 0
    assert Scripted().rank_beside is None and OpenAI(student=Scripted()).rank_beside is None
