"""What a server has answered, on disk: nothing is paid for twice."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from threading import Lock
from typing import Any, Self

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was asked of a server, and what it counted."""

    requests: int = 0
    prompt_tokens: int = 0
    """Those from a cache included."""
    cached_tokens: int = 0
    """Prompt tokens that the server had in its cache."""
    completion_tokens: int = 0
    """Those of hidden reasoning included."""

    @classmethod
    def of(cls, reply: Mapping[str, Any]) -> Self:
        """Read what a reply says of itself; what it does not say counts as 0."""
        usage = reply.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        return cls(
            requests=1, prompt_tokens=usage.get("prompt_tokens") or 0, cached_tokens=details.get("cached_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
        )  # fmt: skip

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum."""
        return Usage(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


class Journal:
    """`requests.jsonl`: a line for each finished request: its name, its usage and its reply, and nothing secret.

    A line that is torn does not count: its request is asked again.

    Args:
        path: the file, which need not exist; None: nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self._lock = path, Lock()
        self.spent = Usage()
        """Of all requests of the journal."""
        self._places: dict[str, int] = {}
        """Where the line of a request begins."""
        self._torn = False
        """Whether the file ends within a line."""
        if path is not None and path.exists():
            self._read(path)

    def known(self, name: str) -> dict[str, Any] | None:
        """Return the reply to the request of this name, if there was one."""
        with self._lock:
            place = self._places.get(name)
        if place is None or self.path is None:
            return None
        with self.path.open("rb") as file:
            file.seek(place)
            reply: dict[str, Any] = json.loads(file.readline())["reply"]
            return reply

    def add(self, name: str | None, reply: Mapping[str, Any]) -> None:
        """Keep a reply; without a name only what it cost, in memory."""
        usage = Usage.of(reply)
        line = json.dumps({"request": name, "usage": asdict(usage), "reply": reply}, ensure_ascii=False)
        with self._lock:
            self.spent += usage
            if self.path is None or name is None:
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(b"\n" * self._torn)
                self._torn, self._places[name] = False, file.tell()
                file.write(line.encode("utf-8", "surrogatepass") + b"\n")

    def _read(self, path: Path) -> None:
        place = damaged = 0
        with path.open("rb") as file:
            for line in file:
                self._torn = not line.endswith(b"\n")
                try:
                    row = json.loads(line)
                    usage, name, _ = Usage(**row["usage"]), str(row["request"]), row["reply"]["choices"]
                except (ValueError, TypeError, KeyError):
                    damaged += 1
                else:
                    self.spent += usage
                    self._places[name] = place
                place += len(line)
        if damaged:
            logger.warning("%s: %d lines are damaged: what they held is asked again", path, damaged)


def name_of(path: str, body: Mapping[str, Any]) -> str:
    """Name a request by all that its reply may depend on; the server's address and the key are not among it."""
    return hashlib.sha256(json.dumps([path, body], sort_keys=True).encode()).hexdigest()
