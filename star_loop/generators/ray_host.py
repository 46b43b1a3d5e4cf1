"""The far end of `ray_actors.py`: an engine in an actor's process, on whichever node Ray found room."""

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from star_loop.generators.likelihood import Means
from star_loop.generators.stream import Arriving, Drawn
from star_loop.generators.vllm import Vllm, VllmEngine
from star_loop.models import Model, Pretrained
from star_loop.records import Completion, Request

Said = list[tuple[int, str]]
"""(level, message) of what was logged on a node."""


class Host:
    """One engine. `do` is what is called from afar."""

    def __init__(self, settings: Vllm, base: Pretrained, seed: int) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="star_loop-"))
        self._base, self._said = base, Kept()
        logging.getLogger("star_loop").addHandler(self._said)
        logging.getLogger("star_loop").setLevel(logging.INFO)
        self._added: dict[int, Request] = {}
        self._stream: Arriving | None = None
        self._engine = VllmEngine(settings, base, workspace=self._scratch, seed=seed, environment={})

    def do(self, operation: str, *arguments: Any) -> tuple[Any, Said]:
        """Return the result of one of the methods below, and what was logged meanwhile."""
        if operation not in {"serve", "generate", "exchange", "halt", "slots", "score", "release", "close"}:
            raise ValueError(f"no operation {operation!r}")
        result = getattr(self, operation)(*arguments)
        said, self._said.records = self._said.records, []
        return result, said

    def abort(self) -> None:
        """Let another call that is under way fail."""
        self._engine.abort()

    def serve(self, files: Mapping[str, bytes] | None) -> None:
        """Serve these files as the adapter; None: the base."""
        old = self._engine.served.adapter
        self._engine.serve(Model(base=self._base, adapter=self._unpack(files) if files else None))
        if old is not None and old != self._engine.served.adapter:
            shutil.rmtree(old)

    def generate(self, requests: Sequence[Request], seed: int) -> list[list[Completion]]:
        """Do what `VllmEngine` does, as the other methods here do."""
        return self._engine.generate(requests, seed=seed)

    def exchange(self, new: Mapping[int, Request]) -> Drawn:
        """Add requests to the stream, and return what has come of it, or after a moment nothing."""
        self._added.update(new)
        if self._stream is None:
            self._stream = self._engine.stream(self._take)
        try:
            return next(self._stream)
        except BaseException:
            self._stream = None
            raise

    def halt(self) -> None:
        """End the stream, and abort what is in flight."""
        self._added.clear()
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def slots(self) -> int:
        """Tell how many completions keep the engine busy."""
        return self._engine.slots

    def _take(self, room: int) -> Mapping[int, Request]:
        added, self._added = self._added, {}
        return added

    def score(self, sequences: Sequence[tuple[Sequence[int], int]], top: int) -> list[Means | None]:
        """Scores."""
        return self._engine.score(sequences, top)

    def release(self) -> None:
        """Give the memory back."""
        self._engine.release()

    def close(self) -> None:
        """Leave nothing on the node."""
        self._engine.close()
        shutil.rmtree(self._scratch)

    def _unpack(self, files: Mapping[str, bytes]) -> Path:
        digest = hashlib.sha256()
        for name, content in files.items():
            digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        into = self._scratch / f"adapter-{digest.hexdigest()[:16]}"
        into.mkdir(exist_ok=True)
        for name, content in files.items():
            (into / name).write_bytes(content)
        return into


class Kept(logging.Handler):
    """Keeps what is logged, for the launch's own log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: Said = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep its level and its message."""
        self.records.append((record.levelno, record.getMessage()))
