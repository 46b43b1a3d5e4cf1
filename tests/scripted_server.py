"""A real HTTP server whose behaviour a test writes: OpenAI's paths, and what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted-teacher"


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    number: int
    """How many came before it."""


@dataclass(frozen=True)
class Answer:
    """What is sent back: JSON, or a text as it stands."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Behaviour = Callable[[Asked], Answer]


@dataclass
class ScriptedServer:
    """A server that is up."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    """The questions; who only looks at the models is not among them."""
    most_at_once: int = 0


def chat(*texts: str, finish: str = "stop", prompt_tokens: int = 7, tokens: int | None = None) -> Answer:
    """A reply with these texts, of a token for each word."""
    choices = [
        {"index": k, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
        for k, text in enumerate(texts)
    ]
    spent = sum(len(text.split()) for text in texts) if tokens is None else tokens
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": spent, "total_tokens": prompt_tokens + spent}
    return Answer({"id": "x", "object": "chat.completion", "model": MODEL, "choices": choices, "usage": usage})


def failure(status: int, message: str = "no", code: str | None = None, **headers: str) -> Answer:
    """An error as OpenAI writes it."""
    said = {"message": message, "type": "error", "code": code}
    return Answer({"error": said}, status, {name.replace("_", "-"): value for name, value in headers.items()})


@contextmanager
def scripted_server(
    behaviour: Behaviour, models: tuple[str, ...] = (MODEL,), listing: Any = None
) -> Iterator[ScriptedServer]:
    """`listing`: what it says of its models, where that is not a list of `models` by name."""
    lock, under_way = threading.Lock(), 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            named = {"object": "list", "data": [{"id": name, "object": "model"} for name in models]}
            self.send(Answer(named if listing is None else listing))

        def do_POST(self) -> None:
            nonlocal under_way
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.path, headers, body, len(server.asked))
                server.asked.append(asked)
                under_way += 1
                server.most_at_once = max(server.most_at_once, under_way)
            try:
                answer = behaviour(asked)
            finally:
                with lock:
                    under_way -= 1
            self.send(answer)

        def send(self, answer: Answer) -> None:
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer.body, str) else "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = ScriptedServer(url=f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
