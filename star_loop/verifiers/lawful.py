"""What verifiers give, held to their protocol: one of somebody's own may err, and is named then."""

from collections.abc import Callable
from numbers import Real
from typing import Any

from star_loop.errors import ConfigError, EngineError, counted
from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict

_SHOWN = 30
"""Characters of a text that a message shows."""


def lawful(given: Any) -> Verdict:
    """Return what a verifier gave.

    Raises:
        ValueError: it is no verdict, or a field of it is of another kind; says what was found and what is wanted.
    """
    if not isinstance(given, Verdict):
        raise ValueError(f"it gave {str(given)[:_SHOWN]!r} ({type(given).__name__}), and a star_loop.Verdict is wanted")
    score: Any = given.score
    marked = isinstance(score, Real) and 0 <= float(score) <= 1
    for name, holds, wanted in (
        ("answer", given.answer is None or isinstance(given.answer, str), "a text or None"),
        ("correct", isinstance(given.correct, bool), "True or False (of NumPy's, bool(…))"),
        ("how", isinstance(given.how, str), "a text"),
        ("score", score is None or marked, "a number from 0 to 1, or None"),
    ):
        if not holds:
            found = getattr(given, name)
            raise ValueError(
                f"{name} of its verdict is {str(found)[:_SHOWN]} ({type(found).__name__}), and {wanted} is wanted"
            )
    return given


def judged(verifier: Verifier, observation: Observation, text: str) -> Verdict:
    """Judge a text before a run, or without one.

    Raises:
        ValueError: the verifier raises something, leaves (`sys.exit`) or gives no verdict; named, with the text.
    """
    return _named(verifier, verifier.judge, observation, text)


def probed(verifier: Verifier, observation: Observation, text: str) -> Verdict:
    """Probe a verifier with a text.

    Raises:
        ValueError: see `judged`.
        ConfigError: the verifier refuses the observation, in its own words.
    """
    return _named(verifier, verifier.probe, observation, text)


def name_of(verifier: Verifier, observation: Observation) -> str:
    """Return the name of the verifier that judges an observation: of several, the one that is chosen."""
    return type(verifier.choose(observation)).__name__


def shown(text: str) -> str:
    """Write the beginning of a text and its length."""
    return f"{text[:_SHOWN]!r}{'…' if len(text) > _SHOWN else ''} ({counted(len(text), 'character')})"


def _named(verifier: Verifier, ask: Callable[[Observation, str], Any], observation: Observation, text: str) -> Verdict:
    try:
        return lawful(ask(observation, text))
    except (ConfigError, EngineError):  # what these say has a remedy of its own
        raise
    except (Exception, SystemExit) as failure:  # a launch must not end as if all were done
        what = str(failure) if isinstance(failure, ValueError) else f"{type(failure).__name__}: {failure}"
        name = name_of(verifier, observation)
        raise ValueError(
            f"task: the verifier {name} fails on {shown(text)}, asked about {observation.id}: {what}. A verdict is due "
            "whatever the text, be it that it is wrong; or correct what the verifier reads of the question"
        ) from failure
