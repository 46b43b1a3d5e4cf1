"""Asking a server: many requests at once, each again and again where that may help, none twice."""

import importlib.util
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from threading import TIMEOUT_MAX, Event
from typing import TYPE_CHECKING, Any, TypeVar, cast

from star_loop.errors import EngineError, counted
from star_loop.servers.journal import Journal, name_of
from star_loop.servers.pace import Pace, patience
from star_loop.servers.replies import NoChoice, Reply, Usage, cards_of, looked_at
from star_loop.servers.server import Server
from star_loop.servers.side_by_side import side_by_side

if TYPE_CHECKING:
    import openai

logger = logging.getLogger(__name__)

R = TypeVar("R")
CHAT, COMPLETIONS = "/chat/completions", "/completions"
_MOST = ("max_tokens", "max_completion_tokens")
"""What servers call the tokens that a choice may have."""
_PASSING = (408, 409, 429)
_CHECKED = 20.0
"""Seconds for a server to say what it has."""


class Refused(EngineError):
    """A request that the server will not answer however often it is asked.

    Attributes:
        status: of HTTP.
        said: the server's own words.
    """

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status, self.said = status, said

    @property
    def of_text(self) -> bool:
        """Tell whether it may be this text alone that the server will not read: it is too long, or it is filtered."""
        return self.status in (400, 413, 422)


class Client:
    """A server that is asked from several threads. What its errors say never holds the key.

    Example:
        >>> client = Client(Server(base_url="http://localhost:8000/v1"))  # doctest: +SKIP
        >>> body = {"model": client.model, "messages": [{"role": "user", "content": "2 + 2?"}]}  # doctest: +SKIP
        >>> client.ask(CHAT, body)["choices"][0]["message"]["content"]  # doctest: +SKIP
        '4'

    Args:
        server: which, and on what terms.
        journal: where replies are kept; None: `server.journal`, and where that is None nothing is kept.
    """

    def __init__(self, server: Server, journal: Path | None = None) -> None:
        self.server, self.journal = server, Journal(server.journal or journal)
        self._requests, self._tokens = Pace(server.requests_per_minute), Pace(server.tokens_per_minute)
        self._stopped = Event()

    def check(self) -> None:
        """See whether the server is there, and has the model.

        Raises:
            ValueError: it is not, or has it not; or the package that asks is not installed.
        """
        if importlib.util.find_spec("openai") is None:
            raise ValueError('a server is asked through the package openai: pip install "star_loop[openai]"')
        try:
            names = self.models()
        except EngineError as error:
            raise ValueError(str(error)) from error
        wanted = self.server.model
        if wanted is None and len(names) != 1:
            raise ValueError(self._unclear(names))
        if wanted is not None and names and not any(name in (wanted, f"models/{wanted}") for name in names):
            raise ValueError(f"{self.server.base_url} has no model {wanted!r}; it has {_listed(names)}")

    @cached_property
    def model(self) -> str:
        """The model's name: the configured one, or the only one that the server has.

        Raises:
            EngineError: the server has several, or none.
        """
        names = [self.server.model] if self.server.model is not None else self.models()
        if len(names) != 1:
            raise EngineError(self._unclear(names))
        return names[0]

    def models(self) -> list[str]:
        """Return the names of what the server has; empty where it does not say.

        Raises:
            EngineError: it cannot be reached, or refuses the key.
        """
        return [str(card["id"]) for card in self.cards()]

    def cards(self) -> list[Mapping[str, Any]]:
        """Return what the server says of each of its models; empty where it says nothing.

        Raises:
            EngineError: it cannot be reached, refuses the key, or lists what are no models.
        """
        try:
            reply = self._persist(lambda: self._api.get("/models", cast_to=object, options={"timeout": _CHECKED}), 1)
        except Refused as refused:
            if refused.status == 404:
                return []
            raise
        try:
            return cards_of(reply)
        except ValueError as error:
            raise self._no_server("/models", error) from error

    @cached_property
    def context(self) -> int | None:
        """Tokens of prompt and completion together that the server takes; None: it does not say.

        Raises:
            EngineError: see `cards`.
        """
        stated = (card.get("max_model_len") for card in self.cards() if card["id"] == self.model)
        return next((tokens for tokens in stated if isinstance(tokens, int) and tokens > 0), None)

    def ask(self, path: str, body: Mapping[str, Any], *, remember: bool = True) -> Reply:
        """Return the reply to this request, from the journal where it has one.

        Args:
            path: `CHAT`, `COMPLETIONS`, or another below the server's address.
            body: the request; `server.extra_body` is added, and `server.without` left out.
            remember: whether the journal is read and written; false: the server itself is asked.

        Raises:
            Refused: the server will not answer this request.
            NoChoice: it answered with nothing, `retries` times again.
            EngineError: it did not answer, `retries` times again, or with no reply; or the budget is spent.
        """
        whole = {k: v for k, v in {**body, **self.server.extra_body}.items() if k not in self.server.without}
        name = name_of(path, whole)
        if remember and (known := self.journal.known(name)) is not None:
            return known
        self._check_budget()
        expected = _expected(whole)
        self._wait(max(self._requests.reserve(1), self._tokens.reserve(expected)))
        try:
            reply = self._persist(partial(self._reply, path, whole), self.server.retries)
        except EngineError:
            self._tokens.reserve(-expected)
            raise
        usage = Usage.of(reply)
        self._tokens.reserve(usage.prompt_tokens + usage.completion_tokens - expected)
        self.journal.add(name if remember else None, reply)
        return reply

    def command(self, path: str, body: Mapping[str, Any]) -> None:
        """Send what is no question, and of which nothing is kept.

        Raises:
            Refused, EngineError: see `ask`.
        """
        self._persist(lambda: self._api.post(path, cast_to=str, body=dict(body)), self.server.retries)

    def each(self, jobs: Sequence[Callable[[], R]], arrived: Callable[[int, R], None] | None = None) -> list[R]:
        """Do jobs that ask the server, `server.concurrency` at once, and return what each returns.

        Args:
            jobs: each in any thread.
            arrived: told, in the caller's thread, of a job and what it returned, as they finish.

        Raises:
            EngineError: a job's; those in flight have finished then, and `arrived` was told of them.
        """
        return side_by_side(jobs, self.server.concurrency, self._stopped, arrived)

    def cost(self) -> dict[str, float]:
        """Return what the journal's requests have cost: `requests`, tokens, and `money` where a price is known."""
        usage, server = self.journal.spent, self.server
        tokens = {"prompt_tokens": usage.prompt_tokens, "generated_tokens": usage.completion_tokens}
        money = {"money": server.money(usage)} if server.price_input or server.price_output else {}
        return {"requests": usage.requests, **tokens, **money}

    def spent(self) -> str:
        """Say what the journal's requests have cost."""
        usage = self.journal.spent
        tokens = f"{usage.prompt_tokens:,} prompt and {usage.completion_tokens:,} generated tokens"
        said, money = f"{counted(usage.requests, 'request')}, {tokens}", self.server.money(usage)
        return f"{said}, {money:.4f} in money" if money else said

    @cached_property
    def _api(self) -> "openai.OpenAI":
        import openai

        key, timeout = self._key or "EMPTY", self.server.timeout  # vLLM's own word for no key
        return openai.OpenAI(base_url=self.server.base_url, api_key=key, max_retries=0, timeout=timeout)

    @property
    def _key(self) -> str:
        return os.environ.get(self.server.key_variable, "")

    def _reply(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Ask once; what comes is looked at before it is kept, or a run could never go on from it."""
        reply = self._api.post(path, cast_to=object, body=body)
        try:
            return looked_at(reply)
        except NoChoice:
            self.journal.add(None, cast(Reply, reply))  # it is paid for all the same
            raise
        except ValueError as error:
            raise self._no_server(path, error) from error

    def _persist(self, send: Callable[[], R], retries: int) -> R:
        import openai

        for attempt in count():
            try:
                return send()
            except (openai.APIError, NoChoice) as error:
                if not self._may_pass(error):
                    raise self._refused(error) from error
                if attempt >= retries:
                    raise self._gave_up(error, attempt + 1) from error
                seconds = patience(error, attempt)
                logger.info("%s: asked again in %.1f s: %s", self.server.base_url, seconds, self._said(error))
                if getattr(error, "status_code", None) == 429:
                    self._requests.pause(seconds)
                self._wait(seconds)
            except (ValueError, RecursionError) as error:  # of JSON
                raise self._no_server("", f"its answer is no JSON that can be read ({error})") from error
        raise AssertionError

    def _may_pass(self, error: Exception) -> bool:
        import openai

        if isinstance(error, openai.APIConnectionError | NoChoice):
            return True
        status = getattr(error, "status_code", 0)
        return (status in _PASSING and getattr(error, "code", None) != "insufficient_quota") or status >= 500

    def _refused(self, error: Exception) -> EngineError:
        status, said, variable = getattr(error, "status_code", 0), self._said(error), self.server.key_variable
        if status in (401, 403):
            what = f"refuses the key in {variable}" if self._key else f"wants a key: export {variable}=…"
        elif getattr(error, "code", None) == "insufficient_quota":
            what = "has no credit left for this key"
        else:
            what = f"refuses the request (status {status}); fields that it does not take are left out by without=[…]"
        return Refused(f"{self.server.base_url} {what}: {said}", status, said)

    def _gave_up(self, error: Exception, times: int) -> EngineError:
        kept = "or raise retries=; what was answered is kept"
        if isinstance(error, NoChoice):
            what = f"answers with nothing ({times} times; {self._said(error)}): see what it filters, {kept}"
            return NoChoice(f"{self.server.base_url} {what}")
        what = f"does not answer ({times} times; {self._said(error)})"
        return EngineError(f"{self.server.base_url} {what}: see that the server runs and base_url= is right, {kept}")

    def _said(self, error: Exception) -> str:
        body = getattr(error, "body", None)
        message = body.get("message") if isinstance(body, dict) else None
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        return self._without_key(str(message or f"{error}{cause}"))[:500]

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and self._stopped.wait(min(seconds, TIMEOUT_MAX)):
            raise EngineError(f"{self.server.base_url}: given up, as another request failed")

    def _check_budget(self) -> None:
        budget, spent = self.server.budget, self.server.money(self.journal.spent)
        if budget is not None and spent >= budget:
            raise EngineError(f"budget={budget:g} is spent ({self.spent()}): raise it and run the same command again")

    def _unclear(self, names: Sequence[str]) -> str:
        """Say that the model is to be named; where the server lists none, only it knows which."""
        has = f"has {len(names)} models: give model=…, one of {_listed(names)}" if names else "lists none: give model=…"
        return f"{self.server.base_url} {has}"

    def _no_server(self, path: str, why: object) -> EngineError:
        what = f"{self.server.base_url}{path} is no OpenAI-compatible server: {self._without_key(str(why))}"
        return EngineError(f"{what}: see that base_url= is right")

    def _without_key(self, said: str) -> str:
        return said.replace(self._key, "…") if self._key else said


def _expected(body: Mapping[str, Any]) -> int:
    """Tokens that a request may take: of its letters, four to a token, and all that may be written."""
    given: dict[str, int] = {name: body[name] for name in ("n", *_MOST) if isinstance(body.get(name), int)}
    most = max((given[name] for name in _MOST if name in given), default=0)
    return len(json.dumps(body)) // 4 + given.get("n", 1) * most


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) or "nothing"
