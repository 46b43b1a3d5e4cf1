"""How a question is put: worked examples first, byte for byte the same in every prompt, then the question.

    Q: {question}
    Options:
    (A) …
    A: {rationale} The answer is (A).

Training and evaluation are zero-shot, the last question alone, unless `bare_shots` says otherwise. `before` and `after`
stand for `Q: ` and the line with `A:`; with `turns`, as a model with a chat template is asked, each question and each
rationale is a message of its own, without them.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from star_loop.errors import counted
from star_loop.records import TURN, Observation
from star_loop.tasks.cells import Row, RowError, pick, text
from star_loop.tasks.choices import choices_of
from star_loop.tasks.golds import option_number
from star_loop.tasks.splitting import SplitTask
from star_loop.tasks.table import read
from star_loop.verifiers.lawful import judged
from star_loop.verifiers.multiple_choice import LETTERS, MultipleChoice, read_choice

EXEMPLARS = Path(__file__).parent / "exemplars"
HINTS = {"last": "[The correct answer: ", "paper": "(CORRECT"}
"""What only a hinted prompt contains, by the form of the hint."""

Frame = Annotated[str, AfterValidator(lambda text: text.replace("\\n", "\n").replace("\\t", "\t"))]
"""What stands around a question; a shell and Hydra leave `\\n` as it was typed."""


class Prompted(SplitTask):
    """A task whose prompts are worked examples, if any, and the question."""

    exemplars: Path | None = None
    """Worked examples: rows with `question`, `rationale`, `answer` and, where there are options, `choices`. The
    rationale ends with the statement of the answer. None: those of the task, if it has any."""
    shots: int | None = Field(None, ge=0)
    """Worked examples in a collection prompt; None: all."""
    bare_shots: int = Field(0, ge=0)
    """Worked examples in the prompts of training and evaluation; the first of those that collection has."""
    hint: Literal["last", "paper"] = "last"
    """Where a hinted prompt shows the answer. `last`: in a line of its own after the question, so that hinted and
    unhinted prompts share the worked examples. `paper`: in the worked examples as well; `(CORRECT)` behind the option
    as in STaR (arXiv 2203.14465; its released prompts), `(CORRECT: 72)` behind a question without options. AdaSTaR's
    released code writes ` (72)` or ` (B)` there, which cannot be told from a model's own words."""
    instruction: str | None = None
    """Said before everything, in training and evaluation too; None: nothing, or what the task says of itself."""
    before: Frame = "Q: "
    """Stands before a question; a rationale ends where it begins again on a new line. `\\n` is a new line."""
    after: Frame = "\nA:"
    """Stands between a question, with its options and hint, and its rationale. `\\n` is a new line."""

    def in_turns(self, chat: bool) -> Self:
        """Return the task as it is asked; a frame that was given is kept."""
        return super().in_turns(chat and not self.model_fields_set & {"before", "after"})

    def worked_examples(self) -> str | None:
        """Return the SHA-256 of the file that was given.

        Raises:
            ValueError: it cannot be read.
        """
        if self.exemplars is None:
            return None
        try:
            return sha256(self.exemplars.expanduser().read_bytes()).hexdigest()
        except OSError as error:
            raise ValueError(
                f"task.exemplars={self.exemplars} cannot be read ({error.strerror}): restore the file, or give its path"
            ) from error

    def shown(self) -> Sequence[Observation]:
        """Return those of the file that was given."""
        return () if self.exemplars is None else self._exemplars

    def prompt(self, observation: Observation, *, hint: bool = False) -> str:
        """Write worked examples, then the question; with `hint`, its answer is shown."""
        examples = self._hinted_examples if hint and self.hint == "paper" else self._examples
        return self._opening(observation) + examples + self._block(observation, hint=hint)

    def bare_prompt(self, observation: Observation, *, hint: bool = False) -> str:
        """Return the question alone, or after `bare_shots` worked examples."""
        return self._opening(observation) + self._bare_examples + self._block(observation, hint=hint)

    @property
    def hint_marker(self) -> str:
        """Return what stands before or behind the answer in a hinted prompt."""
        return HINTS[self.hint]

    @property
    def stop(self) -> tuple[str, ...]:
        """The next question, which a base model would go on to ask; a turn ends by itself."""
        return () if self.turns else (f"\n{self.before.rstrip()}",) if self.before.strip() else ()

    def gold_text(self, observation: Observation) -> str:
        """Return the gold rationale, or the bare statement of the answer."""
        return observation.rationale if observation.rationale is not None else self.statement(observation)

    def statement(self, observation: Observation) -> str:
        """Say how a rationale should end."""
        return self.verifier.statement(observation)

    def check(self) -> None:
        """The worked examples must be readable, acceptable to the verifier, and whole when they are cut at `stop`.

        Raises:
            ValueError: names the example.
        """
        for exemplar in self._exemplars:
            if within := [stop for stop in self.stop if stop in (exemplar.rationale or "")]:
                raise ValueError(
                    f"{exemplar.id}: its rationale holds {within[0]!r}, at which every rationale ends: write it without"
                )
            verdict = judged(self.verifier, exemplar, exemplar.rationale or "")
            if not verdict.correct:
                raise ValueError(
                    f"{exemplar.id}: the verifier {type(self.verifier).__name__} does not find {exemplar.answer!r} in "
                    f"its rationale (it read {verdict.answer!r}): end it with {self.statement(exemplar)!r}"
                )

    def exemplars_path(self) -> Path | None:
        """Return the file of worked examples."""
        return self.exemplars

    @cached_property
    def _exemplars(self) -> list[Observation]:
        path = self.exemplars_path()
        if path is None:
            if self.bare_shots:
                raise ValueError(f"task.bare_shots={self.bare_shots}: give worked examples with task.exemplars=<file>")
            if self.shots:
                raise ValueError(f"task.shots={self.shots}: give worked examples with task.exemplars=<file>")
            return []
        table = read(path, "task.exemplars")
        found = [_exemplar(table[index], table.place(index)) for index in range(len(table))]
        if self.shots is not None and self.shots > len(found):
            there = counted(len(found), "worked example")
            raise ValueError(f"task.shots={self.shots}: {path} has {there}: ask for fewer")
        if self.bare_shots > len(found[: self.shots]):
            there = counted(len(found[: self.shots]), "worked example")
            raise ValueError(f"task.bare_shots={self.bare_shots}: task.shots and the file give {there}: ask for fewer")
        return found[: self.shots]

    def _opening(self, observation: Observation) -> str:
        return f"{self.instruction}\n\n" if self.instruction else ""

    @cached_property
    def _examples(self) -> str:
        return self._worked(len(self._exemplars))

    @cached_property
    def _hinted_examples(self) -> str:
        return self._worked(len(self._exemplars), hint=True)

    @cached_property
    def _bare_examples(self) -> str:
        return self._worked(self.bare_shots)

    def _worked(self, n: int, *, hint: bool = False) -> str:
        form = f"{{}}{TURN}{{}}{TURN}" if self.turns else "{} {}\n\n"
        worked = (form.format(self._block(e, hint=hint), e.rationale) for e in self._exemplars[:n])
        return "".join(worked)

    def _block(self, observation: Observation, *, hint: bool) -> str:
        """Write a question up to where its rationale begins, without a last space: tokenizers glue it to the word."""
        paper, gold = hint and self.hint == "paper", observation.answer
        before, after = ("", "") if self.turns else (self.before, self.after)
        lines = [f"{before}{observation.question}"]
        if observation.choices:
            index = read_choice(gold, observation.choices)
            gold = gold if index is None else LETTERS[index]
            marks = [f" {HINTS['paper']})" if paper and k == index else "" for k in range(len(observation.choices))]
            options = zip(LETTERS, observation.choices, marks, strict=False)
            lines += ["Options:", *(f"({letter}) {choice}{mark}" for letter, choice, mark in options)]
        elif paper:
            lines[0] += f" {HINTS['paper']}: {gold})"
        if hint and not paper:
            shown = f"({gold})" if observation.choices and isinstance(self.verifier, MultipleChoice) else gold
            lines.append(f"{HINTS['last']}{shown}]")
        return "\n".join(lines) + after


def _exemplar(row: Row, place: str) -> Observation:
    question, rationale, answer = (text(pick(row, n, place), n, place) for n in ("question", "rationale", "answer"))
    choices = choices_of(row["choices"], "choices", place) if row.get("choices") else ()
    if (
        choices
        and answer not in choices
        and (option_number(answer) is not None or read_choice(answer, choices) is None)
    ):
        raise RowError(
            f"{place}, column 'answer': {answer[:60]!r} is neither a letter nor the words of one of the "
            f"{len(choices)} options: write the letter"  # a number may count from 0 or from 1
        )
    return Observation(
        id=place,
        question=question,
        answer=answer,
        rationale=rationale,
        choices=choices,
        meta={"numbers": row["numbers"]} if "numbers" in row else {},
    )
