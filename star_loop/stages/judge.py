"""From completions to judged rollouts. A bad rationale is data, not a crash."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from star_loop.protocols import EngineError, Generator, Task, Verifier
from star_loop.records import Completion, How, Observation, Request, Rollout, Verdict
from star_loop.verifiers.lawful import lawful, name_of

logger = logging.getLogger(__name__)

_NAMED = 100
"""Observations that a warning names."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A completion, and what it is one of."""

    position: int
    attempt: int
    sample: int
    request: Request
    completion: Completion


def judge_all(task: Task, drawn: Sequence[Drawn], *, reject_truncated: bool) -> list[Rollout]:
    """Return the rollouts, with the verifier's verdicts and the loop's own vetoes.

    `reject_truncated`: a rationale that was cut off is never worth learning from, whatever it says so far. A rationale
    that quotes the hint marker would teach the model to ask for the answer. Where the prompt left no room, there is
    nothing to judge.
    """
    found = verdicts(task, [(each.request.observation, each.completion.text) for each in drawn])
    return [
        _rollout(each, _vetoed(task, each.completion, verdict, reject_truncated=reject_truncated))
        for each, verdict in zip(drawn, found, strict=True)
    ]


def warn_too_long(iteration: int, rollouts: Iterable[Rollout], generator: Generator) -> None:
    """Say once of a pass which observations' prompts leave no room for a completion.

    Args:
        iteration: its number.
        rollouts: of the pass.
        generator: which may have a key for the length of the context.
    """
    if found := {rollout.id: rollout.prompt_tokens for rollout in rollouts if rollout.how == How.TOO_LONG}:
        named = ", ".join(f"{id} ({tokens} tokens)" if tokens else id for id, tokens in islice(found.items(), _NAMED))
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        logger.warning(
            "iteration %d: %d prompts fill the model's context and are left out: %s%s. %s.",
            iteration, len(found), named, more, _remedy(generator),
        )  # fmt: skip


def _remedy(generator: Generator) -> str:
    if "max_model_len" in type(generator).model_fields:
        return "Raise generator.max_model_len if the model allows, or shorten the prompts (task.shots=…)"
    return "Shorten the prompts (task.shots=…), or lower generator.max_tokens where the context is to hold both"


def _vetoed(task: Task, completion: Completion, verdict: Verdict, *, reject_truncated: bool) -> Verdict:
    if completion.finish == "length" and not completion.tokens:
        return Verdict(answer=None, correct=False, how=How.TOO_LONG)
    if reject_truncated and completion.finish == "length":
        return replace(verdict, correct=False, how=How.TRUNCATED)
    if task.hint_marker is not None and task.hint_marker in completion.text:
        return replace(verdict, correct=False, how=How.HINT_LEAK)
    return verdict


def _rollout(drawn: Drawn, verdict: Verdict) -> Rollout:
    completion, request = drawn.completion, drawn.request
    return Rollout(
        position=drawn.position, id=request.observation.id, attempt=drawn.attempt, sample=drawn.sample,
        hinted=request.hinted, text=completion.text, answer=verdict.answer, correct=verdict.correct, how=verdict.how,
        score=verdict.score, finish=completion.finish, tokens=completion.tokens, prompt_tokens=completion.prompt_tokens,
        ids=None if completion.ids is None else list(completion.ids),
    )  # fmt: skip


def verdicts(task: Task, asked: Sequence[tuple[Observation, str]]) -> list[Verdict]:
    """Judge all at once; where that fails, one by one, to find out which text it is."""
    try:
        found = [lawful(given) for given in task.verifier.judge_all(asked)]
    except EngineError:  # a judge that cannot be asked: no verdict is none against a text
        raise
    except (Exception, SystemExit):  # the verifier's boundary: whatever a model wrote must not end the run
        found = []
    return found if len(found) == len(asked) else [_verdict(task.verifier, *each) for each in asked]


def _verdict(verifier: Verifier, observation: Observation, text: str) -> Verdict:
    try:
        return lawful(verifier.judge(observation, text))
    except EngineError:
        raise
    except (Exception, SystemExit) as failure:  # the same boundary
        logger.warning("verifier %s failed on %s: %r", name_of(verifier, observation), observation.id, failure)
        return Verdict(answer=None, correct=False, how=f"verifier failed: {type(failure).__name__}")
