"""Which server, and on what terms: the keys that every user of a server has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from star_loop.config.component import Component
from star_loop.servers.replies import Usage

TERMS = (
    "base_url", "key_variable", "concurrency", "requests_per_minute", "tokens_per_minute", "retries", "timeout",
    "price_input", "price_cached", "price_output", "budget", "journal",
)  # fmt: skip
"""Keys on which no reply depends: a run may be continued with others."""


class Server(Component):
    """An OpenAI-compatible server: vLLM's, SGLang's, a hosted one.

    The key is read from the environment when a request is sent, and is neither logged nor written. Whoever has such a
    server lets `Client(…).check()` look at it.
    """

    alone: ClassVar[bool] = True

    base_url: str = "https://api.openai.com/v1"
    """Its address up to and with `/v1`: `http://localhost:8000/v1`."""
    model: str | None = None
    """What the server calls the model; None: the only one that it has."""
    key_variable: str = "OPENAI_API_KEY"
    """The variable of the environment that holds the key; where it is not set, `EMPTY` is sent, as to a server of one's
    own."""
    concurrency: int = Field(16, ge=1)
    """Requests in flight at once."""
    requests_per_minute: float | None = Field(None, gt=0)
    """At most so many requests begin in a minute, evenly spread; None: as many as `concurrency` allows."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """The same of tokens, prompts included: estimated when a request begins, corrected when it ends."""
    retries: int = Field(10, ge=0)
    """How often a request is sent again after a failure that may pass: no connection, a time-out, status 408, 409, 429
    or 5xx. The waits double from half a second to half a minute; a server that says how long to wait is obeyed."""
    timeout: float = Field(600.0, gt=0)
    """Seconds for one request."""
    price_input: float = Field(0.0, ge=0)
    """Money for a million prompt tokens, in whatever currency."""
    price_cached: float | None = Field(None, ge=0)
    """Money for a million of them that the server had cached; None: as `price_input`."""
    price_output: float = Field(0.0, ge=0)
    """Money for a million generated tokens."""
    budget: float | None = Field(None, gt=0)
    """Once so much money is spent, nothing more is asked and the run stops; it continues with a higher one. It needs a
    price."""
    journal: Path | None = None
    """Where replies are kept, so that no request is paid for twice; several runs may share the file, one after another.
    None: with the run."""
    extra_body: Mapping[str, Any] = {}
    """Anything else that the server takes in a request, as JSON values."""
    without: tuple[str, ...] = ()
    """Fields of a request that the server does not take, such as `seed` or `temperature`."""

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("should be an address such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("must hold neither a user, nor a password, nor a query: export the key, see key_variable")
        return url.rstrip("/")

    @field_validator("budget")
    @classmethod
    def _is_spent(cls, budget: float | None, info: ValidationInfo) -> float | None:
        prices = [info.data.get(name, 1.0) for name in ("price_input", "price_cached", "price_output")]  # else refused
        if budget is not None and not any(prices):
            raise ValueError("is never spent without a price: give price_input= and price_output= beside it")
        return budget

    def money(self, usage: Usage) -> float:
        """Return what this usage costs."""
        cached = self.price_input if self.price_cached is None else self.price_cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (
            fresh * self.price_input + usage.cached_tokens * cached + usage.completion_tokens * self.price_output
        ) / 1e6
