"""What a server has answered, on disk: nothing is paid for twice."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from star_loop.servers.replies import NoChoice, Reply, Usage, looked_at

logger = logging.getLogger(__name__)


class Journal:
    """`requests.jsonl`: a line for each finished request: its name, its usage and its reply, and nothing secret.

    A line that is torn, or whose reply is of no use, does not count: its request is asked again. What it has cost does,
    where it can be read.

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

    def known(self, name: str) -> Reply | None:
        """Return the reply to the request of this name, if there was one."""
        with self._lock:
            place = self._places.get(name)
        if place is None or self.path is None:
            return None
        with self.path.open("rb") as file:
            file.seek(place)
            reply: Reply = json.loads(file.readline())["reply"]
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
                    self.spent += Usage.kept(row["usage"])
                    looked_at(row["reply"])
                    self._places[str(row["request"])] = place
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError, NoChoice):
                    damaged += 1
                place += len(line)
        if damaged:
            logger.warning("%s: %d lines are damaged or hold no reply: what they held is asked again", path, damaged)


def name_of(path: str, body: Mapping[str, Any]) -> str:
    """Name a request by all that its reply may depend on; the server's address and the key are not among it."""
    return hashlib.sha256(json.dumps([path, body], sort_keys=True).encode()).hexdigest()
