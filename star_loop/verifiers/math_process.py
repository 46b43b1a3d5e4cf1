"""A process that compares mathematics, and can be killed: an expression may take for ever, or all memory.

`python -m star_loop.verifiers.math_process` reads one JSON list `[seconds, gold, answer, …]` per line and writes one
JSON line: whether every answer equals the gold one by Math-Verify, or null where one of them cannot be read.
"""

import json
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from star_loop.processes.kept import KeptProcess
from star_loop.verifiers.algebra import compare, parse

COMMAND = (sys.executable, "-m", "star_loop.verifiers.math_process")
MEMORY = 4 << 30
"""Bytes of address space of one process."""


class MathProcess(KeptProcess):
    """Keeps one process that compares."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        super().__init__(command)

    def ask(self, seconds: float, gold: str, answers: Sequence[str]) -> bool | None:
        """Tell whether every answer equals the gold one; None: something in them is not mathematics.

        Raises:
            Stopped: no reply within `seconds`, or the process died.
        """
        reply = self.reply(seconds, [seconds, gold, *answers])
        return None if reply is None else bool(reply)


def serve() -> None:
    """Answer until the input ends. If the asker is gone, the alarm ends what takes too long."""
    _limit_memory()
    import logging

    logging.disable()  # Math-Verify logs every expression that it cannot read
    sys.setrecursionlimit(2000)
    parse_in_two_stages()
    parse("1")
    _say("ready")
    for line in sys.stdin:
        seconds, gold, *answers = json.loads(line)
        signal.alarm(int(seconds) + 5)
        _say(compare(gold, answers))
        signal.alarm(0)


def _say(reply: object) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def parse_in_two_stages() -> None:
    """Let the LaTeX parser try ANTLR's SLL prediction first, up to 25 times as fast, and LL only where it fails.

    Where SLL succeeds, LL gives the same tree (Parr, Harwell and Fisher, Adaptive LL(*) Parsing, OOPSLA 2014).
    """
    prediction = import_module("antlr4.atn.PredictionMode").PredictionMode
    parser = getattr(import_module("latex2sympy2_extended.latex2sympy2"), "_Latex2Sympy", None)
    if parser is None:  # a version that is built otherwise
        return
    create, parse = parser.create_parser, parser.parse

    def fast(self: Any, text: str) -> Any:
        made = create(self, text)
        made._interp.predictionMode = prediction.SLL
        return made

    def two_stages(self: Any, text: str) -> Any:
        parser.create_parser = fast
        try:
            return parse(self, text)
        except Exception:  # a syntax error, for SLL or altogether
            parser.create_parser = create
            return parse(self, text)

    parser.parse = two_stages


def _limit_memory() -> None:
    try:
        import resource
    except ModuleNotFoundError:  # not a Unix
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard < 0 else min(MEMORY, hard), hard))


if __name__ == "__main__":
    serve()
