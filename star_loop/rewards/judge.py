"""A language model as a judge, behind an OpenAI-compatible server (arXiv 2306.05685)."""

import logging
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from pydantic import Field

from star_loop.protocols import Engine
from star_loop.records import Observation
from star_loop.rewards import Asked, Reward
from star_loop.servers import Client, Server
from star_loop.servers.client import CHAT, Refused
from star_loop.verifiers.reply import reply

logger = logging.getLogger(__name__)

PROMPT = """\
You grade a solution.

Question:
{question}

Reference answer: {answer}

Solution:
{text}

Does it reach the reference answer, by steps that are all right? Say in one sentence what is wrong, if anything is. \
Then end with "Score: n", where n is a whole number from 0 (wrong) to 10 (nothing is wrong)."""
JOURNAL = "judge.jsonl"
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w]|\.\d)")
_NAME = re.compile(r"\{(\w+)\}")
_THIS_TEXT = (400, 413, 422)
"""What a server answers to a text that is too long for it, or that it will not read."""


class Judge(Reward):
    """The last number of a language model's reply, over the highest mark. A reply without one gives no mark.

    Replies are kept in the run, so nothing is paid for twice. A solution may try to talk the judge into a high mark:
    look at the agreement with the golds.
    """

    server: Server = Server.model_validate({})
    """Which server, and on what terms."""
    prompt: str = PROMPT
    """The question for the judge; `{question}`, `{answer}`, `{text}` and columns of the row stand for their values."""
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
            raise ValueError("reward.prompt does not show the solution: put {text} where it belongs")
        Client(self.server).check()

    def marks(self, asked: Asked, *, engine: Engine | None = None, folder: Path | None = None) -> list[float | None]:
        """Ask about each of them, several at once.

        Raises:
            EngineError: the server does not answer, or refuses every text.
        """
        client = Client(self.server, None if folder is None else folder / JOURNAL)
        replies = client.each([partial(self._reply, client, observation, text) for observation, text in asked])
        refused = [failure for _, failure in replies if failure is not None]
        if refused and len(refused) == len(asked):
            raise refused[0]
        if refused:
            logger.warning("the judge refuses %d of %d texts, such as: %s", len(refused), len(asked), refused[0])
        return [self.mark(said) for said, _ in replies]

    def mark(self, said: str) -> float | None:
        """Read the mark of a reply, behind its thinking.

        Example:
            >>> [Judge().mark(said) for said in ("All 3 steps are right. Score: 9", "Score: 11", "It is fine.")]
            [0.9, None, None]
        """
        numbers = _NUMBER.findall(reply(said).replace(f"/{self.highest:g}", ""))
        found = float(numbers[-1]) / self.highest if numbers else None
        return found if found is not None and found <= 1 else None

    def question(self, observation: Observation, text: str) -> str:
        """Write what the judge is asked; what stands in the text is not filled in again."""
        row: Mapping[str, object] = observation.meta.get("row", {})
        known = {**row, "question": observation.question, "answer": observation.answer, "text": reply(text).strip()}
        return _NAME.sub(lambda name: str(known.get(name[1], name[0])), self.prompt)

    def _reply(self, client: Client, observation: Observation, text: str) -> tuple[str, Refused | None]:
        """(what the judge says, why it refuses to)"""
        body = {
            "model": client.model, "messages": [{"role": "user", "content": self.question(observation, text)}],
            "temperature": self.temperature, "max_tokens": self.max_tokens,
        }  # fmt: skip
        try:
            choices = client.ask(CHAT, body)["choices"]
        except Refused as refused:
            if refused.status not in _THIS_TEXT:
                raise
            return "", refused
        message = choices[0].get("message") if choices else None
        return str((message or {}).get("content") or ""), None
