"""Rationales from a model behind an OpenAI-compatible server: a teacher's, or whatever is to be measured."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from star_loop.accounting.cost import Cost
from star_loop.generators.scripted import cost_of
from star_loop.generators.serving import cut_at_stop
from star_loop.generators.teaching import Taught
from star_loop.generators.told import telling
from star_loop.models import Model, Pretrained, chat
from star_loop.protocols import Arrived, Engine, EngineError, Generator, Progress, themselves
from star_loop.records import Completion, Request, Sampling
from star_loop.seeding import seed_for
from star_loop.servers import Client, Reply, Server
from star_loop.servers.client import CHAT, COMPLETIONS, Refused
from star_loop.servers.length import too_long
from star_loop.servers.replies import NoChoice, Usage, reasoning_of, text_of

logger = logging.getLogger(__name__)

JOURNAL = "requests.jsonl"
IN_A_ROW = 5
"""Questions without an answer, one after another, after which it is the server's way and no matter of the questions."""
_STOPS = 4
"""Stop strings that OpenAI takes; all of them are heeded when a reply is read."""


class OpenAI(Server, Generator):
    """Asks the server whatever is collected, up to iteration `until`, and the student everything else.

    A reply's text is all that is taken over: it is encoded by the tokenizer of the model that learns. Tokens are
    counted by the server. FLOPs are counted as if the base model had written; what was paid stands in the journal.
    Each request has its own seed, and what is finished is kept. Without a student the served model writes nothing, so
    accuracies are the server's.
    """

    api: Literal["chat", "completions"] = "chat"
    """`chat`: the prompt is a user's message, and the reply follows it after a space. `completions`: the prompt is
    continued as it stands, by a base model."""
    system_prompt: str | None = None
    """With `api: chat`: the system's message to the teacher."""
    reasoning: Literal["drop", "keep"] = "drop"
    """What a server returns as reasoning, beside the reply; `keep`: it is put before it as `<think>…</think>`."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls `max_tokens`."""
    until: int | None = Field(None, ge=1)
    """The last iteration that the server collects for; afterwards the student does. None: all."""
    student: Generator | None = None
    """Serves the model that learns: it answers what is measured."""

    def check(self) -> None:
        """The server must answer and have the model; then the student's checks.

        Raises:
            ValueError: it does not.
        """
        if self.until is not None and self.student is None:
            raise ValueError("generator.until needs a student that goes on: take generator=openai, which has one")
        if self.thinking_tokens is not None:
            raise ValueError(
                "generator.thinking_tokens is for an engine of one's own: give generator.extra_body what a server has"
            )
        client = Client(self)
        client.check()
        if (context := client.context) is not None and self.max_tokens > context:
            raise ValueError(
                f"generator.max_tokens={self.max_tokens} is more than {self.base_url} has room for, {context} tokens "
                "with the prompt: lower generator.max_tokens"
            )
        if self.student is not None:
            self.student.check()

    def writer(self, base: str) -> str:
        """Say up to when the server writes."""
        if self.until is None:
            return f"written by `{self.model}` on a server, not by the model that learns"
        return f"written up to iteration {self.until} by `{self.model}` on a server, then by {themselves(base)}"

    def cost(self, base: Pretrained) -> Cost:
        """Return what the student says, or the cost of the base, if it has weights."""
        return cost_of(base) if self.student is None else self.student.cost(base)

    @property
    def rank_beside(self) -> int | None:
        """Return the student's."""
        return None if self.student is None else self.student.rank_beside

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        """The server, beside the student's engine where there is a student."""
        teacher = OpenAIEngine(self, base, Client(self, workspace / JOURNAL))
        if self.student is None:
            yield teacher
            return
        with self.student.engine(base, workspace=workspace, seed=seed) as student:
            yield Taught(teacher, student, self.until)


class OpenAIEngine:
    """Every completion depends on its request alone, as far as the server heeds seeds."""

    def __init__(self, settings: OpenAI, base: Pretrained, client: Client) -> None:
        self.settings, self.base, self.client = settings, base, client
        self._in_a_row = 0

    def serve(self, model: Model) -> None:
        """Do nothing: the server has a model of its own."""

    def release(self) -> None:
        """Do nothing: there is nothing to release."""

    def paid(self) -> dict[str, float]:
        """Return what its requests have cost since the run began; see `Client.cost`."""
        return self.client.cost()

    def generate(
        self, requests: Sequence[Request], *, seed: int,
        progress: Progress | None = None, arrived: Arrived | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """Ask for all of them.

        A prompt that the server finds too long gives empty completions that were cut off; one that it refuses, or
        answers with nothing however often it is asked, gives empty ones.

        Raises:
            EngineError: it answers none of several questions in a row, or not at all; see `Client.ask`.
        """

        told = telling(arrived, progress)
        completions = self.client.each([partial(self._complete, request) for request in requests], told)
        if requests:
            logger.info("%s: %s so far", self.settings.base_url, self.client.spent())
        return completions

    def _complete(self, request: Request) -> list[Completion]:
        """Ask until there are `n`: some servers give one reply, whatever `n` says."""
        drawn: list[Completion] = []
        while len(drawn) < request.n:
            try:
                reply = self.client.ask(*self._question(request, len(drawn)))
            except (Refused, NoChoice) as failure:
                return drawn + [self._left_out(failure, request)] * (request.n - len(drawn))
            self._in_a_row = 0
            drawn += self._read(reply, request)
        return drawn[: request.n]

    def _left_out(self, failure: Refused | NoChoice, request: Request) -> Completion:
        """Return what stands for a rationale where it is this prompt that the server does not answer.

        Raises:
            Refused: it is not.
            EngineError: too many in a row had no answer; or see `_too_long`.
        """
        if long := self._too_long(failure, request):
            logger.warning("%s is left out, its prompt is too long: %s", request.observation.id, failure)
        elif isinstance(failure, Refused) and not failure.of_text:
            raise failure
        else:
            self._in_a_row += 1
            if self._in_a_row >= IN_A_ROW:
                raise EngineError(f"{request.observation.id}, as {IN_A_ROW - 1} before it: {failure}") from failure
            logger.warning("%s is left out: %s", request.observation.id, failure)
        return Completion(text="", tokens=0, prompt_tokens=0, finish="length" if long else "stop")

    def _too_long(self, failure: Refused | NoChoice, request: Request) -> bool:
        """Tell whether the server finds the prompt too long.

        Raises:
            EngineError: `max_tokens` are too many for it, after this prompt or any.
        """
        if isinstance(failure, NoChoice) or not failure.of_text:
            return False
        most = request.sampling.max_tokens
        what = too_long(failure.said, most)
        if what == "max_tokens":
            raise EngineError(
                f"generator.max_tokens={most} leaves {self.settings.base_url} no room for the prompt of "
                f"{request.observation.id}: lower it (the server: {failure.said})"
            )
        return what is not None

    def _question(self, request: Request, begun: int) -> tuple[str, Mapping[str, Any]]:
        settings, how = self.settings, request.sampling
        path: str = COMPLETIONS
        asked: dict[str, Any] = {"prompt": request.prompt}
        if settings.api == "chat":
            said_by_us = self.base.model_copy(update={"system_prompt": settings.system_prompt})
            path, asked = CHAT, {"messages": chat.messages(request.prompt, said_by_us)}
        wanted = 1 if how.temperature == 0 else request.n - begun
        seed = seed_for(request.seed, "server", begun, bits=31)
        body = {"model": self.client.model, **asked, settings.max_tokens_field: how.max_tokens, **sampling_fields(how)}
        return path, body | {"seed": seed} | ({"n": wanted} if wanted > 1 else {})

    def _read(self, reply: Reply, request: Request) -> list[Completion]:
        texts, usage = [self._text(choice, request) for choice in reply["choices"]], Usage.of(reply)
        finishes = [choice.get("finish_reason") for choice in reply["choices"]]
        tokens = shared(usage.completion_tokens or sum(len(text.split()) for text in texts), texts)
        completions = [
            Completion(
                text=text, tokens=spent, prompt_tokens=usage.prompt_tokens,
                finish="length" if finish == "length" else "stop",
            )
            for text, finish, spent in zip(texts, finishes, tokens, strict=True)
        ]  # fmt: skip
        return completions * request.n if request.sampling.temperature == 0 else completions

    def _text(self, choice: Mapping[str, Any], request: Request) -> str:
        text = cut_at_stop(text_of(choice), request.sampling.stop)
        if self.settings.reasoning == "keep" and (reasoning := reasoning_of(choice)):
            text = f"<think>\n{reasoning.strip()}\n</think>\n\n{text}"
        continued = self.settings.api == "chat" and not self.base.chat_template
        apart = continued and text[:1].strip() and request.prompt[-1:].strip()
        return f" {text}" if apart else text


def sampling_fields(how: Sampling) -> dict[str, Any]:
    """Return the sampling as a server takes it; what is as OpenAI has it anyway is not sent, which knows no `top_k`."""
    usual = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    unusual = {name: value for name, default in usual.items() if (value := getattr(how, name)) != default}
    shape = {} if how.temperature == 0 else unusual
    return {"temperature": how.temperature, **shape, **({"stop": list(how.stop[:_STOPS])} if how.stop else {})}


def shared(tokens: int, texts: Sequence[str]) -> list[int]:
    """Share out the tokens of several texts, of which a server says only the sum, by their lengths.

    Example:
        >>> shared(10, ["a long text", "short"])
        [7, 3]
    """
    ends = [sum(len(text) + 1 for text in texts[: k + 1]) for k in range(len(texts))]
    places = [0, *(round(tokens * end / ends[-1]) for end in ends)]
    return [end - begin for begin, end in pairwise(places)]
