"""A server is asked, paced, retried, paid and remembered as `Server` says: by a real server with scripted behaviour."""

import json
import re
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.errors import ConfigError, EngineError
from star_loop.servers import Client, Server
from star_loop.servers.client import CHAT, Refused
from star_loop.servers.journal import Journal
from star_loop.servers.pace import Pace, stated
from star_loop.servers.replies import NoChoice, Usage, looked_at, text_of
from tests.quiz import QUIZ, configure
from tests.scripted_server import MODEL, Answer, Asked, chat, failure, scripted_server

SECRET = "a-key-that-nobody-may-see"


def body(question: str = "2 + 2?", **fields) -> dict:
    return {"model": MODEL, "messages": [{"role": "user", "content": question}], **fields}


def text(reply) -> str:
    return reply["choices"][0]["message"]["content"]


def echo(asked: Asked) -> Answer:
    return chat(asked.body["messages"][-1]["content"].upper())


def test_many_are_asked_at_once_and_come_back_in_order(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    both = threading.Barrier(4)

    def together(asked: Asked) -> Answer:
        both.wait(timeout=20)  # nobody is answered before four have asked
        return echo(asked)

    arrived: dict[int, str] = {}
    caller = threading.get_ident()
    with scripted_server(together) as server:
        client = Client(Server(base_url=server.url, concurrency=4))
        assert client.model == MODEL
        jobs = [partial(client.ask, CHAT, body(f"question {k}")) for k in range(12)]

        def told(index: int, reply) -> None:
            assert threading.get_ident() == caller
            arrived[index] = text(reply)

        replies = client.each(jobs, told)
    assert [text(reply) for reply in replies] == [f"QUESTION {k}" for k in range(12)] == [arrived[k] for k in range(12)]
    assert server.most_at_once == 4
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {SECRET}"}
    assert client.journal.spent == Usage(requests=12, prompt_tokens=84, completion_tokens=24)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_what_may_pass_is_asked_again(status: int) -> None:
    def recovers(asked: Asked) -> Answer:
        return echo(asked) if asked.number == 2 else failure(status, retry_after_ms="1")

    with scripted_server(recovers) as server:
        assert text(Client(Server(base_url=server.url)).ask(CHAT, body())) == "2 + 2?"
    assert len(server.asked) == 3
    assert len({json.dumps(asked.body) for asked in server.asked}) == 1


@pytest.mark.parametrize(("headers", "expected"), [
    ({"retry-after-ms": "250"}, 0.25), ({"retry-after": "7"}, 7.0), ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ({"retry-after": "soon"}, None), ({}, None), ({"retry-after": "inf"}, None), ({"retry-after": "nan"}, None),
    ({"retry-after": "1e300"}, None), ({"retry-after": "-3"}, 0.0), ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
    ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -99999999999999"}, None), ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
])  # fmt: skip
def test_a_server_says_how_long_to_wait(headers, expected) -> None:
    assert stated(headers) == expected


def test_without_a_word_of_the_server_the_waits_double(caplog) -> None:
    caplog.set_level("INFO", logger="star_loop")

    def recovers(asked: Asked) -> Answer:
        return echo(asked) if asked.number == 1 else failure(503)

    with scripted_server(recovers) as server:
        Client(Server(base_url=server.url)).ask(CHAT, body())
    assert "asked again in 0.5 s" in caplog.text


def test_a_server_that_never_answers_is_given_up_and_what_came_is_kept(tmp_path: Path) -> None:
    def one_answer(asked: Asked) -> Answer:
        return echo(asked) if "good" in str(asked.body) else failure(500, "out of order", retry_after_ms="1")

    arrived: list[int] = []
    with scripted_server(one_answer) as server:
        client = Client(Server(base_url=server.url, retries=2, concurrency=2), tmp_path / "requests.jsonl")
        jobs = [partial(client.ask, CHAT, body(question)) for question in ("good", "bad")]
        with pytest.raises(EngineError, match=r"does not answer \(3 times; out of order\): see that the server runs"):
            client.each(jobs, lambda index, _: arrived.append(index))
        assert arrived == [0]
        asked = len(server.asked)
        again = Client(Server(base_url=server.url, retries=2), tmp_path / "requests.jsonl")
        assert text(again.ask(CHAT, body("good"))) == "GOOD"
        assert len(server.asked) == asked == 4


def test_nobody_there(monkeypatch) -> None:
    with scripted_server(echo) as server:
        pass
    with pytest.raises(ValueError, match=r"does not answer .*see that the server runs and base_url= is right"):
        Client(Server(base_url=server.url)).check()


@pytest.mark.parametrize(("answer", "said"), [
    (failure(401, "who are you?"), "wants a key: export MY_KEY=….*who are you"),
    (failure(400, "no such field: seed"), r"refuses the request \(status 400\).*without=\[…\]: no such field: seed"),
    (failure(429, "pay first", code="insufficient_quota"), "no credit left for this key: pay first"),
])  # fmt: skip
def test_what_cannot_pass_is_told_at_once(answer: Answer, said: str) -> None:
    with scripted_server(lambda _: answer) as server:
        with pytest.raises(Refused, match=said):
            Client(Server(base_url=server.url, key_variable="MY_KEY")).ask(CHAT, body())
        assert len(server.asked) == 1
        assert server.asked[0].headers["authorization"] == "Bearer EMPTY"


def test_the_key_is_in_no_error_no_log_and_no_file(monkeypatch, tmp_path: Path, caplog) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MY_KEY", SECRET)

    def rude(asked: Asked) -> Answer:
        return echo(asked) if asked.number == 0 else failure(401, f"bad key: {asked.headers['authorization']}")

    with scripted_server(rude) as server:
        client = Client(Server(base_url=server.url, key_variable="MY_KEY"), tmp_path / "requests.jsonl")
        client.ask(CHAT, body())
        with pytest.raises(Refused, match="refuses the key in MY_KEY: bad key: Bearer …") as error:
            client.ask(CHAT, body("again"))
    assert SECRET not in f"{error.value}{caplog.text}{(tmp_path / 'requests.jsonl').read_text()}"
    assert SECRET not in repr(client.server)


@pytest.mark.parametrize("page", ["<html>It works!</html>", {"hello": "world"}, [1]])
def test_what_is_no_such_server_is_told(page) -> None:
    with (
        scripted_server(lambda _: Answer(page)) as server,
        pytest.raises(EngineError, match="is no OpenAI-compatible server: it answered"),
    ):
        Client(Server(base_url=server.url)).ask(CHAT, body())


def test_a_page_that_claims_to_be_json_is_told_too() -> None:
    with (
        scripted_server(lambda _: Answer("<html>", headers={"Content-Type": "application/json"})) as server,
        pytest.raises(EngineError, match=r"is no OpenAI-compatible server: its answer is no JSON .*base_url= is right"),
    ):
        Client(Server(base_url=server.url)).ask(CHAT, body())


def test_the_model_must_be_there() -> None:
    with scripted_server(echo, models=("a", "models/b")) as server:
        Client(Server(base_url=server.url, model="b")).check()
        with pytest.raises(ValueError, match="has no model 'c'; it has a, models/b"):
            Client(Server(base_url=server.url, model="c")).check()
        with pytest.raises(ValueError, match="has 2 models: give model=…, one of a, models/b"):
            Client(Server(base_url=server.url)).check()


def test_no_request_is_paid_for_twice(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    with scripted_server(echo) as server:
        terms = Server(base_url=server.url, price_input=2.0, price_output=10.0, journal=path)
        client = Client(terms)
        replies = [client.ask(CHAT, body(f"q {k}")) for k in range(3)]
        with path.open("ab") as file:
            file.write(b'{"request": "torn')
        again = Client(terms)
        assert [again.ask(CHAT, body(f"q {k}")) for k in range(3)] == replies
        assert len(server.asked) == 3
        again.ask(CHAT, body("new"))
        last = Client(terms)
        assert text(last.ask(CHAT, body("new"))) == "NEW"
    assert len(server.asked) == 4
    assert last.journal.spent == Usage(requests=4, prompt_tokens=28, completion_tokens=7)
    assert terms.money(last.journal.spent) == pytest.approx((28 * 2 + 7 * 10) / 1e6)
    assert "4 requests, 28 prompt and 7 generated tokens, 0.0001 in money" in last.spent()


def test_what_was_cached_has_a_price_of_its_own() -> None:
    terms = Server(price_input=4.0, price_cached=1.0, price_output=8.0)
    assert terms.money(Usage(prompt_tokens=10, cached_tokens=6, completion_tokens=1)) == pytest.approx(30e-6)
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
    assert Usage.of({"usage": usage}).cached_tokens == 3
    assert Usage.of({"usage": None}) == Usage(requests=1)


def test_a_budget_ends_it(tmp_path: Path) -> None:
    with scripted_server(echo) as server:
        terms = Server(base_url=server.url, price_input=1e6, budget=20, journal=tmp_path / "j.jsonl")
        client = Client(terms)
        for k in range(3):
            client.ask(CHAT, body(str(k)))  # 7 each
        with pytest.raises(EngineError, match=r"budget=20 is spent \(3 requests, .*21.0000 in money\): raise it"):
            client.ask(CHAT, body("one more"))
        assert text(client.ask(CHAT, body("1"))) == "1"  # what is known costs nothing
        assert Client(terms.model_copy(update={"budget": 30.0})).ask(CHAT, body("one more"))


@pytest.mark.parametrize(("keys", "where"), [
    (("generator=openai", "generator@generator.student=scripted"), "generator"),
    (("generator=scripted", "reward=judge"), "reward.server"),
])  # fmt: skip
def test_a_budget_without_a_price_is_refused(keys: tuple[str, ...], where: str) -> None:
    said = f"{where}.budget: is never spent without a price: give price_input= and price_output= beside it, got 20"
    with pytest.raises(ConfigError, match=re.escape(said)):
        build(configure(*QUIZ, *keys, f"{where}.budget=20"))
    assert build(configure(*QUIZ, *keys, f"{where}.budget=20", f"{where}.price_output=1"))
    with pytest.raises(ConfigError) as wrong_price:
        build(configure(*QUIZ, *keys, f"{where}.budget=20", f"{where}.price_output=-1"))
    assert str(wrong_price.value).startswith(f"{where}.price_output: ") and "budget" not in str(wrong_price.value)


def test_fields_are_added_and_left_out() -> None:
    with scripted_server(echo) as server:
        terms = Server(base_url=server.url, extra_body={"reasoning_effort": "low"}, without=("seed",))
        Client(terms).ask(CHAT, body(seed=3, temperature=1.0))
    assert server.asked[0].body == {**body(temperature=1.0), "reasoning_effort": "low"}


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x/v1", "http://me:secret@x/v1", "https://x/v1?key=1", "http://"]
)
def test_an_address_holds_no_secret(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Server(base_url=url)


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(1, 1e4), st.lists(st.floats(0.1, 100), min_size=1, max_size=30))
def test_no_minute_sees_more_than_its_share(per_minute: float, units: list[float]) -> None:
    """Law: whatever begins before `t` fits into the time until then, but for what began last."""
    clock = Clock()
    pace, spent, begun = Pace(per_minute, clock), 0.0, clock.now
    for each in units:
        clock.now += pace.reserve(each)
        assert spent <= (clock.now - begun) * per_minute / 60 + 1e-6 * (1 + spent)
        spent += each


def test_a_pause_holds_everybody_and_what_was_not_spent_comes_back() -> None:
    clock = Clock()
    pace = Pace(None, clock)
    assert pace.reserve(1) == pace.reserve(1e9) == 0
    pace.pause(5)
    assert pace.reserve(1) == 5
    slow = Pace(60, clock)
    assert slow.reserve(10) == 0
    assert slow.reserve(-4) == 10
    assert slow.reserve(0) == 6


@pytest.mark.parametrize(("fields", "expected"), [
    ({"max_tokens": 1000}, 1000), ({"max_completion_tokens": 1000, "n": 3}, 3000), ({"n": 3}, 0),
    ({"max_tokens": None, "n": None}, 0), ({"max_tokens": "many", "n": "2"}, 0),
])  # fmt: skip
def test_what_may_be_written_is_reserved_whatever_the_server_calls_it(fields: dict, expected: int) -> None:
    pace, reserved = Pace(60, Clock()), list[float]()  # a token a second, of a clock that stands still

    def notes(_: Asked) -> Answer:
        reserved.append(pace.reserve(0))
        return chat("4", prompt_tokens=3, tokens=2)

    with scripted_server(notes) as server:
        client = Client(Server(base_url=server.url))
        client._tokens = pace
        client.ask(CHAT, body(**fields))
    assert reserved == [expected + len(json.dumps(body(**fields))) // 4]
    assert pace.reserve(0) == 5, "what was not spent comes back"


def test_what_is_refused_gives_back_what_was_reserved_for_it() -> None:
    with scripted_server(lambda _: failure(400, "no")) as server:
        client = Client(Server(base_url=server.url))
        client._tokens = Pace(60, Clock())
        for k in range(2):
            with pytest.raises(Refused):
                client.ask(CHAT, body(str(k), max_tokens=10**6))
    assert client._tokens.reserve(0) == 0


def test_limits_hold_for_requests_that_are_sent(monkeypatch) -> None:
    """600 a minute are a tenth of a second each: four of them take three tenths, however many threads there are."""
    times: list[float] = []

    def at(asked: Asked) -> Answer:
        from time import monotonic

        times.append(monotonic())
        return echo(asked)

    with scripted_server(at) as server:
        client = Client(Server(base_url=server.url, requests_per_minute=600))
        client.each([partial(client.ask, CHAT, body(str(k))) for k in range(4)])
    assert max(times) - min(times) > 0.2  # never less, however busy the machine is


def test_a_broken_journal_is_told_and_costs_only_what_it_held(tmp_path: Path, caplog) -> None:
    path = tmp_path / "requests.jsonl"
    journal = Journal(path)
    reply = {"choices": [{"text": "4"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    for name in "abc":
        journal.add(name, reply)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\xff{}\n[]\n" + lines[2])
    again = Journal(path)
    assert (again.known("a"), again.known("b"), again.known("c")) == (reply, None, reply)
    assert "2 lines are damaged" in caplog.text
    assert again.spent == Usage(requests=2, prompt_tokens=2, completion_tokens=2)


NOT_REPLIES = [
    ({"choices": [None]}, r"choices\[0\] is None"),
    ({"choices": ["hi"]}, r"choices\[0\] is 'hi'"),
    ({"choices": {"0": "hi"}}, r"choices is \{'0': 'hi'\}"),
    ({"choices": [{"message": "hi"}]}, r"choices\[0\]\.message is 'hi'"),
    ({"choices": [{"message": {"content": {"text": "hi"}}}]}, r"choices\[0\]\.message\.content is \{'text': 'hi'\}"),
    ({"choices": [{"message": {"content": [7]}}]}, r"choices\[0\]\.message\.content\[0\] is 7"),
    ({"choices": [{"message": {"content": [{"type": "text"}]}}]}, r"content\[0\]\.text is None"),
    ({"choices": [{"message": {"content": "hi", "reasoning": 3}}]}, r"choices\[0\]\.message\.reasoning is 3"),
    ({"choices": [{"text": 7}]}, r"choices\[0\]\.text is 7"),
    ({"choices": [{"text": "hi"}], "usage": "12 tokens"}, "usage is '12 tokens'"),
    ({"choices": [{"text": "hi"}], "usage": [12]}, r"usage is \[12\]"),
    ({"choices": [{"text": "hi"}], "usage": {"prompt_tokens": "12"}}, r"usage\.prompt_tokens is '12'"),
    ({"choices": [{"text": "hi"}], "usage": {"completion_tokens": -1}}, r"usage\.completion_tokens is -1"),
    ({"choices": [{"text": "hi"}], "usage": {"prompt_tokens_details": [3]}}, r"usage\.prompt_tokens_details is \[3\]"),
]


@pytest.mark.parametrize(("reply", "said"), NOT_REPLIES)
def test_a_reply_is_looked_at_before_it_is_kept(tmp_path: Path, reply: dict, said: str) -> None:
    path, mended = tmp_path / "requests.jsonl", False
    with scripted_server(lambda asked: echo(asked) if mended else Answer(reply)) as server:
        with pytest.raises(EngineError, match=f"/chat/completions is no OpenAI-compatible server: .*{said}.*base_url="):
            Client(Server(base_url=server.url), path).ask(CHAT, body("good"))
        assert len(server.asked) == 1 and not path.exists()
        mended = True
        assert text(Client(Server(base_url=server.url), path).ask(CHAT, body("good"))) == "GOOD"


@pytest.mark.parametrize(
    "reply", [*(reply for reply, _ in NOT_REPLIES), {"choices": []}, {"choices": None}, "hi", None]
)
def test_what_an_earlier_version_has_kept_of_such_replies_is_asked_again(tmp_path: Path, reply: object, caplog) -> None:
    path = tmp_path / "requests.jsonl"
    usage = {"requests": 1, "prompt_tokens": 5, "cached_tokens": 0, "completion_tokens": 2}
    path.write_text(json.dumps({"request": "a", "usage": usage, "reply": reply}) + "\n")
    journal = Journal(path)
    assert journal.known("a") is None
    assert "1 lines are damaged or hold no reply" in caplog.text
    assert journal.spent == Usage(requests=1, prompt_tokens=5, completion_tokens=2), "it was paid for all the same"
    good = {"choices": [{"text": "4"}]}
    journal.add("a", good)
    assert Journal(path).known("a") == good


@pytest.mark.parametrize("usage", [{"prompt_tokens": "5"}, {"requests": None, "tokens": 3}, "5", [5], None])
def test_a_usage_in_a_journal_is_looked_at(tmp_path: Path, usage: object) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({"request": "a", "usage": usage, "reply": {"choices": [{"text": "4"}]}}) + "\n")
    assert (Journal(path).known("a"), Journal(path).spent) == (None, Usage())


def test_a_reply_without_a_choice_is_asked_for_again(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", logger="star_loop")

    def filters(asked: Asked) -> Answer:
        return echo(asked) if asked.number == 1 else Answer({"choices": [], "usage": {"prompt_tokens": 9}})

    path = tmp_path / "requests.jsonl"
    with scripted_server(filters) as server:
        client = Client(Server(base_url=server.url), path)
        assert text(client.ask(CHAT, body("good"))) == "GOOD"
        assert "asked again in 0.5 s: the reply holds no choice: {'choices': []" in caplog.text
        assert client.journal.spent.prompt_tokens == 9 + 7, "what gave nothing is paid for too"
        with pytest.raises(NoChoice, match=r"answers with nothing \(1 times; the reply holds no choice: .*see what it"):
            Client(Server(base_url=server.url, retries=0), path).ask(CHAT, body("bad"))
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize(("content", "written"), [
    ("hi", "hi"), (None, ""), ("", ""), ([], ""), (["h", "i"], "hi"),
    ([{"type": "text", "text": "h"}, {"type": "text", "text": "i"}], "hi"), ([{"type": "output_text", "text": "hi"}], "hi"),
    ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "hi"}], "hi"),
])  # fmt: skip
def test_the_text_parts_of_a_content_are_put_together(content: object, written: str) -> None:
    choice = {"message": {"content": content}}
    assert text_of(choice) == written
    assert looked_at({"choices": [choice]}) == {"choices": [choice]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "text", "type", "usage", "prompt_tokens", "reasoning"]) | st.text(),
        inner,
    ),
)  # fmt: skip


@given(JSON | st.fixed_dictionaries({"choices": JSON}, optional={"usage": JSON}))
def test_law_what_is_no_reply_is_told_and_what_is_one_can_be_read(reply: object) -> None:
    try:
        good = looked_at(reply)
    except (ValueError, NoChoice):
        return
    Usage.of(good)
    assert good["choices"] and all(isinstance(text_of(choice), str) for choice in good["choices"])


def test_json_of_any_depth_is_told() -> None:
    deep = Answer("[" * 9999 + "]" * 9999, headers={"Content-Type": "application/json"})
    with (
        scripted_server(lambda _: deep) as server,
        pytest.raises(EngineError, match="is no OpenAI-compatible server: its answer is no JSON that can be read"),
    ):
        Client(Server(base_url=server.url)).ask(CHAT, body())


@pytest.mark.parametrize(("cards", "said"), [
    ([{"name": "a"}], r"data\[0\] has no id: \{'name': 'a'\}"), ([{"id": None}], r"data\[0\] has no id"),
    (["a"], r"data\[0\] is 'a'"), ({"id": "a"}, r"data is \{'id': 'a'\}"), ("a", "data is 'a'"),
])  # fmt: skip
def test_an_odd_list_of_models_is_told_before_anything_starts(cards: object, said: str) -> None:
    with (
        scripted_server(echo, listing={"data": cards}) as server,
        pytest.raises(ValueError, match=f"/v1/models is no OpenAI-compatible server: {said}.*base_url="),
    ):
        Client(Server(base_url=server.url)).check()


@pytest.mark.parametrize(("listing", "said"), [
    ("<html>Welcome</html>", "/v1/models is no OpenAI-compatible server: it answered '<html>Welcome</html>': see that"),
    ({"data": []}, "/v1 lists none: give model=…$"), ({}, "/v1 lists none: give model=…$"),
])  # fmt: skip
def test_a_server_that_lists_no_model_is_told_so(listing: object, said: str) -> None:
    with scripted_server(echo, listing=listing) as server, pytest.raises(ValueError, match=said):
        Client(Server(base_url=server.url, model=None)).check()


def test_whole_counts_are_counts_however_they_are_written() -> None:
    assert Usage.of({"usage": {"prompt_tokens": 12.0, "completion_tokens": None}}) == Usage(
        requests=1, prompt_tokens=12
    )


def test_a_wait_that_no_clock_can_measure_begins(tmp_path: Path) -> None:
    """A request a century: the second one waits, until another job has failed."""

    def fails(asked: Asked) -> Answer:
        return failure(400, "no")

    with scripted_server(fails) as server:
        client = Client(Server(base_url=server.url, requests_per_minute=1e-300, concurrency=2))
        with pytest.raises(Refused):
            client.each([partial(client.ask, CHAT, body(str(k))) for k in range(2)])
        assert len(server.asked) == 1


def test_half_a_surrogate_pair_is_kept_as_it_came(tmp_path: Path) -> None:
    with scripted_server(lambda _: chat("half \ud800")) as server:
        for _ in range(2):
            client = Client(Server(base_url=server.url), tmp_path / "requests.jsonl")
            assert client.ask(CHAT, body("?"))["choices"][0]["message"]["content"] == "half \ud800"
        assert len(server.asked) == 1


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from star_loop.servers import Client, Server\n"
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'openai' else found(name, *rest)\n"
        "assert 'openai' not in sys.modules\n"
        "Client(Server()).check()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "star_loop[openai]"' in done.stderr
