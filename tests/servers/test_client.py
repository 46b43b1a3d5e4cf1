"""A server is asked, paced, retried, paid and remembered as `Server` says: by a real server with scripted behaviour."""

import json
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.errors import EngineError
from star_loop.servers import Client, Server
from star_loop.servers.client import CHAT, Refused
from star_loop.servers.journal import Journal, Usage
from star_loop.servers.pace import Pace
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
    ({"retry-after": "soon"}, None), ({}, None),
])  # fmt: skip
def test_a_server_says_how_long_to_wait(headers, expected) -> None:
    from star_loop.servers.client import _stated

    assert _stated(headers) == expected


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
    reply = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    for name in "abc":
        journal.add(name, reply)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\xff{}\n[]\n" + lines[2])
    again = Journal(path)
    assert (again.known("a"), again.known("b"), again.known("c")) == (reply, None, reply)
    assert "2 lines are damaged" in caplog.text


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
