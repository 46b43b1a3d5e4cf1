"""`evaluation.external`: which benchmarks are measured, how often, and what came of them."""

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from star_loop.config.component import Component, Words
from star_loop.errors import EngineError
from star_loop.models import Model
from star_loop.processes.killable import EndedError, KillableProcess, SilentError

_CHILD = [sys.executable, "-m", "star_loop.external.process"]


class Harness(Component):
    """Measures tasks of lm-eval-harness (extra `external`) with transformers: the base, and the adapter merged into it.

    Offline (`HF_HUB_OFFLINE=1`) their data must be cached.
    """

    tasks: Words = ()
    """Their names there, such as `gsm8k,arc_challenge`; none: nothing is measured."""
    every: int = Field(1, ge=1)
    """Measure after every so many iterations; always before the first and after the last."""
    limit: int | None = Field(None, ge=1)
    """Only so many questions of each task; None: all."""
    shots: int | None = Field(None, ge=0)
    """Worked examples before each question; None: as the task says."""
    folder: Path | None = None
    """A folder of tasks of your own, as YAML files in lm-eval-harness's form."""
    batch: int = Field(8, ge=1)
    """Questions that are asked at once."""
    timeout: float = Field(14400, gt=0)
    """Seconds after which the tasks of an iteration are given up, which ends the launch."""

    @property
    def needs_base(self) -> bool:
        """Tell that the base is what is measured, where there are tasks."""
        return bool(self.tasks)

    def due(self, iteration: int, *, last: bool) -> bool:
        """Tell whether they are measured after this iteration, which may be the run's last."""
        return bool(self.tasks) and (iteration % self.every == 0 or last)

    def check(self) -> None:
        """Look for lm-eval-harness and the folder.

        Raises:
            ValueError: one of them is not there.
        """
        if self.tasks and find_spec("lm_eval") is None:
            raise ValueError('evaluation.external needs lm-eval: pip install "star_loop[external]"')
        if self.folder is not None and not self.folder.is_dir():
            raise ValueError(f"evaluation.external.folder={self.folder}: there is no such folder")

    def questions(self, log: Path) -> Mapping[str, Sequence[str]]:
        """Return the texts that each task asks, without worked examples; every task's data is looked for.

        Raises:
            ValueError: there is no such task, or its data cannot be had.
        """
        reply = self._ask({"tasks": self.tasks, "folder": self._folder, "limit": self.limit}, log)
        if "failed" in reply:
            raise ValueError(f"evaluation.external: {reply['failed']}")
        found: Mapping[str, Sequence[str]] = reply["questions"]
        return found

    def measure(self, model: Model, log: Path) -> Mapping[str, float]:
        """Return `<task>/<metric>` and `<task>/<metric>_stderr` of each task.

        Args:
            model: the base and its adapter.
            log: a file that what the harness says is added to.

        Raises:
            EngineError: it failed, or took too long.
        """
        asked = {
            "tasks": self.tasks, "folder": self._folder, "limit": self.limit, "shots": self.shots, "batch": self.batch,
            "base": model.base.model_dump(mode="json"), "adapter": model.adapter and str(model.adapter),
        }  # fmt: skip
        reply = self._ask(asked, log)
        if "failed" in reply:
            raise EngineError(f"evaluation.external: {reply['failed']} (what it said: {log})")
        return figures(reply["results"])

    @property
    def _folder(self) -> str | None:
        return None if self.folder is None else str(self.folder.resolve())

    def _ask(self, asked: Mapping[str, Any], log: Path) -> dict[str, Any]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as said:
            process = KillableProcess(_CHILD, log=said, environment={"TOKENIZERS_PARALLELISM": "false"})
            try:
                process.send(asked, self.timeout)
                reply: dict[str, Any] = process.receive(self.timeout)
                return reply
            except SilentError as error:
                raise EngineError(f"evaluation.external.timeout: no result in {self.timeout:g} s: {log}") from error
            except (EndedError, OSError) as error:
                raise EngineError(f"evaluation.external: lm-eval-harness ended ({error}): {log}") from error
            finally:
                process.close()


def figures(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Name the harness's figures as metrics; what is no number, and what names no metric, is left out.

    Example:
        >>> figures({"gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.5, "acc,none": 0.25, "sample_len": 9}})
        {'gsm8k/exact_match_strict-match': 0.5, 'gsm8k/acc': 0.25}
    """
    found = {}
    for task, values in results.items():
        for key, value in values.items():
            metric, comma, how = key.partition(",")
            if comma and isinstance(value, int | float) and not isinstance(value, bool):
                base, stderr = metric.removesuffix("_stderr"), "_stderr" * metric.endswith("_stderr")
                found[f"{task}/{base}{'' if how == 'none' else f'_{how}'}{stderr}"] = float(value)
    return found
