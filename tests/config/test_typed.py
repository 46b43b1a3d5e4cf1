"""What is typed is what arrives: forms of the documents, braces, `~`, a second `=`; and names of sweep directories."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import example, given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.config.hydra import composed, prepare, slug
from star_loop.config.typed import grammatical

ROOT = Path(__file__).parent.parent.parent
TASK = ("experiment=smoke", "task=file", "task.path=a.jsonl")
GLOBS = set("[]{}()*?~#;&|<>$`!\\ ")
"""What bash or zsh reads in an unquoted word."""


def read(argument: str) -> object:
    override = OverridesParser.create().parse_override(argument)
    assert not override.is_sweep_override()
    return override.value()


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
@example("{passage} {q}")
@example("~/my data.jsonl")
@example("outputs/s/seed=1/iterations/0003")
@example('it\'s "so" \\')
@example("End with \\boxed{}.")
def test_a_value_that_hydra_cannot_read_is_the_text_that_was_typed(value: str) -> None:
    typed = f"task.question={value}"
    found = grammatical(typed)
    try:
        OverridesParser.create().parse_override(typed)
    except HydraException:
        assert read(found) == value
    else:
        assert found == typed


@pytest.mark.parametrize(
    "typed, key, value",
    [("task.choices=a,b,c,d", "choices", "a,b,c,d"), ("task.choices=[a,b,c,d]", "choices", ["a", "b", "c", "d"]),
     ('task.choices="a,b"', "choices", "a,b"), ("task.choices=options", "choices", "options"),
     ("++task.choices=a,b", "choices", "a,b"), ("task.path=~/mine.jsonl", "path", "~/mine.jsonl"),
     ("task.question={passage} {q}", "question", "{passage} {q}"), ("task.question={q}", "question", "{q}"),
     ('task.after="\\nAnswer:"', "after", "\\nAnswer:"), ('task.instruction=""', "instruction", ""),
     ("task.instruction=End with \\boxed{}.", "instruction", "End with \\boxed{}.")],
)  # fmt: skip
def test_documented_forms_arrive(typed: str, key: str, value: object) -> None:
    assert composed([*TASK, typed])["task"][key] == value


@pytest.mark.parametrize("value", ["1", "1.50", "1e3", "true", "2026-11-28", "0012"])
def test_a_text_that_looks_like_a_number_stays_as_it_was_typed(value: str) -> None:
    found = build(composed(["experiment=smoke", f"name={value}", f"notes={value}", f"tags={value},7b"]))
    assert (found.name, found.notes, found.tags) == (value, value, (value, "7b"))


def test_numbers_of_a_list_of_words_or_of_a_sweep_are_taken_as_texts() -> None:
    assert build(composed(["experiment=smoke", "tags=[1,7b]"])).tags == ("1", "7b")
    assert build(composed(["experiment=smoke"]) | {"name": 1, "tags": 2}).tags == ("2",)


def test_several_option_columns_are_one_value_in_a_sweep_too() -> None:
    assert prepare(["-m", "task.choices=a,b", "seed=0,1"])[1:3] == ["++task.choices='a,b'", "seed=0,1"]
    assert prepare(["-m", 'task.choices="a,b","c,d"'])[1] == '++task.choices="a,b","c,d"'


def test_a_mistake_is_told_by_the_key_that_has_it() -> None:
    with pytest.raises(ValueError, match=r"trainer\.target_modules"):
        build(composed(["trainer.target_modules=[q_proj,"]))


def documented() -> list[str]:
    """The overrides in the tables and sentences of the page on data."""
    text = re.sub(r"^```.*?^```", "", (ROOT / "docs/data.md").read_text(), flags=re.M | re.S)
    spans = [span for span in re.findall(r"`([^`]+)`", text) if re.match(r"'?[a-z_]+\.[a-z_]+=", span)]
    return [span for span in spans if "…" not in span and "<" not in span and not span.endswith("=")]


@pytest.mark.parametrize("span", documented())
def test_every_form_of_the_page_on_data_works_as_it_stands(span: str) -> None:
    said = subprocess.run(["bash", "-c", f"printf '%s\\0' {span}"], capture_output=True, text=True, check=True).stdout
    words = said.split("\0")[:-1]
    assert words == shlex.split(span)
    unquoted = re.sub(r"'[^']*'", "", span).replace(" ", "")
    assert not set(unquoted) & GLOBS, "bash leaves it as it is, zsh does not"
    build(composed([*TASK, *words]))


@given(st.lists(st.text(min_size=1, max_size=200), min_size=2, max_size=2, unique=True))
@example(['task.instruction="Be brief."', 'task.instruction="Be-brief."'])
@example(['task.before="Q: "', 'task.before="Q- "'])
@example(["a/b", "a b"])
@example(["x" * 300, "x" * 300 + "y"])
def test_other_overrides_have_another_directory(overrides: list[str]) -> None:
    one, other = (re.sub(r"(^|,)\++", r"\1", each) for each in overrides)
    names = [slug(each) for each in (one, other)]
    assert (one == other) == (names[0] == names[1])
    for name in names:
        assert len(name.encode()) <= 120
        assert "/" not in name and name.isprintable() and name not in (".", "..", "")
