"""A language model that grades texts, behind an OpenAI-compatible server (arXiv 2306.05685)."""

import logging
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from star_loop.config.component import Component
from star_loop.errors import EngineError
from star_loop.records import Observation
from star_loop.servers import Client, Server
from star_loop.servers.client import CHAT, Refused
from star_loop.servers.replies import NoChoice, text_of
from star_loop.verifiers.reply import reply
from star_loop.verifiers.rewards import OWN, by_name, names

logger = logging.getLogger(__name__)

_NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w|\.\d)"
_MARK = re.compile(rf"(?P<mark>{_NUMBER})(?: *\(? *(?:/|out of|of) *(?P<highest>{_NUMBER})|(?P<percent> *%))?")
"""A number, with the highest one that it is said to be of: `3/10`, `3 out of 10`, `3 (of 10)`."""
_SCORE = re.compile(r"score\b[^\w\n]*(?:\([^()\n]*\)[^\w\n]*?)?[:：][^\w−–-]*", re.IGNORECASE)
"""What announces a mark, up to it: `Score: `, `**Score (0-10):** `."""
_NAME = re.compile(r"(?<![A-Za-z])\{([A-Za-z_]\w*)\}")
"""Not `\\boxed{n}`, which is mathematics."""


class Grader(Component):
    """The number behind the last `Score:` of a language model's reply, over the highest mark; where a reply has no
    `Score:`, its last number. Without a number there, or with one of another highest mark (`3/5`), there is no mark.

    Replies are kept in a journal, so nothing is paid for twice.
    """

    where: ClassVar[str]
    """The key of this component, for messages."""
    journal: ClassVar[str]
    """The file that keeps the replies."""

    server: Server = Server.model_validate({})
    """Which server, and on what terms."""
    prompt: str
    """The question for the judge; `{question}`, `{answer}`, `{text}`, whatever else a reward of your own can ask for by
    name, and columns of the row stand for their values."""
    highest: float = Field(10.0, gt=0)
    """The highest mark that the prompt speaks of; the lowest is 0."""
    max_tokens: int = Field(512, ge=1)
    """Tokens of a reply."""
    temperature: float = Field(0.0, ge=0)
    """Of the judge."""

    def check(self) -> None:
        """See whether the server is there, and has the model.

        Raises:
            ValueError: it is not; the prompt does not show the text; the package that asks is not installed.
        """
        if "{text}" not in self.prompt:
            raise ValueError(f"{self.where}.prompt does not show the solution: put {{text}} where it belongs")
        Client(self.server).check()

    @property
    def names_columns(self) -> bool:
        """Tell whether the prompt has more than an observation's own fields."""
        return not set(_NAME.findall(self.prompt)) <= {*OWN} - {"row"}

    def prove(self, observation: Observation) -> None:
        """Look for the columns that the prompt names.

        Raises:
            ValueError: there is no such column.
        """
        known = by_name(observation, "")
        if missing := [name for name in _NAME.findall(self.prompt) if name not in known]:
            raise ValueError(
                f"{self.where}.prompt: {{{missing[0]}}} stands for nothing in {observation.id}: it is "
                f"{names(observation)}"
            )

    def paid(self, folder: Path) -> dict[str, float]:
        """Return what the replies in this folder's journal have cost; see `Client.cost`."""
        return self._client(folder).cost()

    def grade(
        self, asked: Sequence[tuple[Observation, str]], folder: Path | None, *, some: bool = True
    ) -> list[float | None]:
        """Ask about each of them, several at once, and about what is the same only once.

        Args:
            asked: observations, each with a text.
            folder: of the journal; None: nothing is kept.
            some: whether the server must take some of the texts.

        Raises:
            EngineError: the server does not answer, or with `some` refuses every text.
        """
        client = self._client(folder)
        questions = [self.question_about(observation, text) for observation, text in asked]
        distinct = list(dict.fromkeys(questions))
        replies = client.each([partial(self._reply, client, question) for question in distinct])
        refused = [failure for _, failure in replies if failure is not None]
        if some and refused and len(refused) == len(distinct):
            raise refused[0]
        if refused:
            logger.warning("the judge refuses %d of %d texts, such as: %s", len(refused), len(distinct), refused[0])
        marks = {question: self.mark(said) for question, (said, _) in zip(distinct, replies, strict=True)}
        return [marks[question] for question in questions]

    def mark(self, said: str) -> float | None:
        """Read the mark of a reply, behind its thinking."""
        said = reply(said)
        announced = [score.end() for score in _SCORE.finditer(said)]
        found = [_MARK.match(said, announced[-1])] if announced else list(_MARK.finditer(said))
        last = found[-1] if found else None
        if last is None or last["percent"] or float(last["highest"] or self.highest) != self.highest:
            return None
        mark = float(last["mark"]) / self.highest
        return mark if 0 <= mark <= 1 else None

    def question_about(self, observation: Observation, text: str) -> str:
        """Write what the judge is asked; what stands in the text is not filled in again, and half a pair is a `?`."""
        known = by_name(observation, text) | {"text": reply(text).strip()}
        asked = _NAME.sub(lambda name: str(known.get(name[1], name[0])), self.prompt)
        return asked.encode("utf-8", "replace").decode()

    def _client(self, folder: Path | None) -> Client:
        return Client(self.server, None if folder is None else folder / self.journal)

    def _reply(self, client: Client, question: str) -> tuple[str, EngineError | None]:
        """(what the judge says, why it refuses to)"""
        body = {
            "model": client.model, "messages": [{"role": "user", "content": question}],
            "temperature": self.temperature, "max_tokens": self.max_tokens,
        }  # fmt: skip
        try:
            return text_of(client.ask(CHAT, body)["choices"][0]), None
        except NoChoice as nothing:
            return "", nothing
        except Refused as refused:
            if not refused.of_text:
                raise
            return "", refused
