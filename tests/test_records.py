"""Records survive their JSON; what is not one is named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.records import Decoding, Example, How, RecordError, Rollout, Try
from star_loop.run.commit import IterationState
from star_loop.seeding import seed_for

texts = st.text(st.characters(), max_size=40)  # lone surrogates included

rollouts = st.builds(
    Rollout, position=st.integers(0), id=texts, attempt=st.integers(0, 1), sample=st.integers(0, 9), hinted=st.booleans(),
    text=texts, answer=st.none() | texts, correct=st.booleans(), how=texts,
    score=st.none() | st.floats(0, 1), finish=st.sampled_from(["stop", "length"]), tokens=st.integers(0),
    prompt_tokens=st.integers(0),
)  # fmt: skip


@given(rollouts)
def test_a_rollout_survives(rollout: Rollout) -> None:
    line = rollout.to_json()
    assert "\n" not in line
    assert Rollout.from_json(line) == rollout
    assert Rollout.from_json(line.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")) == rollout


@given(st.text(max_size=60))
def test_any_other_line_is_a_record_error(line: str) -> None:
    with pytest.raises(RecordError):
        Example.from_json(line)


@pytest.mark.parametrize("line", ["{}", "[]", "null", '{"position":1}', '{"position":1,"id":"a","prompt":"","x":1}'])
def test_the_message_names_the_record_and_what_was_found(line: str) -> None:
    with pytest.raises(RecordError, match="not a Example: expected the fields"):
        Example.from_json(line)


def test_the_seal_covers_every_field() -> None:
    state = IterationState(format=4, iteration=3, predecessor="c", adapter=None, files={"a": "b"}).sealed()
    assert state.sealed() == state
    assert IterationState.unsealed(state.to_json()) == state
    for changed in ({"iteration": 4}, {"files": {}}, {"kept": (1,)}, {"made_of": {"seed": 1}}, {"adapter": "x"},
                    {"predecessor": "d"}):  # fmt: skip
        with pytest.raises(RecordError, match="not those that were committed"):
            IterationState.unsealed(replace(state, **changed).to_json())


def test_meanings_are_plain_words_and_numbers_on_disk() -> None:
    rollout = Rollout(
        position=0, id="a", attempt=Decoding.SAMPLED, sample=0, hinted=False, text="", answer=None, correct=False,
        how=How.TOO_LONG, score=None, finish="length", tokens=0, prompt_tokens=9,
    )  # fmt: skip
    assert '"attempt":1,' in rollout.to_json()
    assert '"how":"prompt too long"' in rollout.to_json()
    assert Rollout.from_json(rollout.to_json()) == rollout
    assert seed_for(0, Try.SECOND) == seed_for(0, 1)
