"""The report is one self-contained page that shows what the run's files say, whatever the model wrote."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from star_loop.accounting.statistics import Statistics
from star_loop.records import Metrics, Observation, Rollout
from star_loop.report import write
from star_loop.report.__main__ import main
from star_loop.report.answers import CHANGES, MOST, answers
from star_loop.report.figures import sampling
from star_loop.report.page import visible
from star_loop.report.summary import histogram, read
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError
from tests.quiz import play

HOSTILE = (
    '<script>alert("own")</script> </article></main> &amp; {{ 7 * 7 }} <img src=x onerror=alert(1)> \x00\udc80\u202e'
)
SKILLS = ("addition", "<b>carry</b>")


def observation(split: str, k: int) -> Observation:
    return Observation(
        id=f"{split}/{k}", question=f"{split} question {k} <i>?</i>", answer="12", skill=SKILLS[k % 2], level=1 + k // 2
    )


def rollout(k: int, split: str = "train", **changes: object) -> Rollout:
    fields = {
        "position": k, "id": f"{split}/{k}", "attempt": 0, "sample": 0, "hinted": False, "text": f"rationale {k}",
        "answer": "12", "correct": True, "how": "equal", "score": None, "finish": "stop", "tokens": 9,
        "prompt_tokens": 7,
    }  # fmt: skip
    return Rollout(**(fields | changes))  # type: ignore[arg-type]


WAVE = [
    rollout(0, text=HOSTILE),
    rollout(1, text="seven steps", score=0.5),
    rollout(2, correct=False, answer="<u>13</u>", how="different"),
    rollout(2, attempt=1, hinted=True, text="with a hint"),
]


def metrics_of(iteration: int) -> Metrics:
    accuracy = 0.25 + 0.125 * iteration
    metrics = {"flops/cumulative": 2e12 * iteration, "seconds/evaluate": 4.0, "seconds/total": 4.0}
    for split in ("evaluation", "validation"):
        metrics |= {
            f"{split}/accuracy": accuracy,
            f"{split}/accuracy_low": accuracy - 0.02,
            f"{split}/accuracy_high": accuracy + 0.02,
        }
    for skill in SKILLS:
        metrics |= {f"evaluation/{skill}/level_{level}": accuracy / level for level in (1, 2)}
    if iteration:
        metrics |= {
            "collect/rollouts": 200.0, "collect/correct": 50.0, "collect/faithful": 0.9, "train/examples": 40.0,
            "train/loss": 0.5 / iteration, "tokens/generated": 12_000.0, "tokens/trained": 900.0,
            "flops/generate": 1.5e12, "flops/train": 0.5e12, "seconds/collect": 10.0, "seconds/total": 20.0,
            "sampler/alpha": 0.25, "machine/utilisation_generate": 0.1 * iteration,
        }  # fmt: skip
    return metrics


ASKED = np.array(sorted({r.position for r in WAVE}))


def commit(run: RunDirectory, iteration: int, metrics: Metrics) -> None:
    here = run.iteration(iteration)
    if iteration:
        here.wave(0, ASKED, lambda: WAVE)
    else:
        here.evaluation("test", lambda: [rollout(0, "test")])
    statistics = Statistics.empty(4)
    statistics.attempts[:3] = iteration
    statistics.wins[:2] = iteration
    here.commit(adapter=None, metrics=metrics, statistics=statistics, beliefs={})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four committed iterations, the base included."""
    directory = RunDirectory(tmp_path / "a<run>")
    directory.publish_observations({s: [observation(s, k) for k in range(4)] for s in ("train", "validation", "test")})
    config = "tags: [baseline, <7b>]\nnotes: to <b>see</b>\nseed: 3\nsampler:\n  _target_: star_loop.samplers.adastar.AdaStar\nmodel:\n  name_or_path: </pre><script>\n"
    (directory.path / "config.yaml").write_text(config)
    for iteration in range(4):
        commit(directory, iteration, metrics_of(iteration))
    return directory.path


def test_no_file_of_a_run_is_decoded_twice(tmp_path: Path) -> None:
    """It is opened to compare its checksum, and to be read."""
    play(tmp_path / "run", "iterations=3")
    opened, looks = Counter[str](), [True]
    sys.addaudithook(lambda event, given: opened.update([str(given[0])]) if event == "open" and looks[0] else None)
    read(tmp_path / "run")
    looks[0] = False
    texts = {name: n for name, n in opened.items() if name.endswith(".jsonl") and "/iterations/" in name}
    assert any("0003/waves" in name for name in texts) and any("0000/evaluation" in name for name in texts)
    assert max(texts.values()) == 2, texts


class Page(HTMLParser):
    """What a browser would make of the page: elements, attributes, texts by element, and whether tags nest."""

    VOID = ("meta", "br", "img", "link", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.tags.append((tag, attrs))
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", " ".join(data.split())))

    @property
    def text(self) -> str:
        return " ".join(text for element, text in self.texts if element not in ("style", "script"))


def page(run: Path) -> Page:
    return Page(write(run).read_text(encoding="utf-8"))


def test_the_page_shows_what_the_files_say(run: Path) -> None:
    shown = page(run)
    assert shown.open == []
    for expected in (
        "AdaStar · seed 3 · baseline · <7b>",
        "to <b>see</b>",
        "25.0 % → 62.5 %",
        "+37.5 points; 95 % interval 60.5–64.5",
        "6.00e12",  # FLOPs of the last iteration, which are cumulative
        "36k",  # tokens generated: three times 12,000
        "1:04",  # seconds: 4 + 3 × 20
        "4 training observations: 1 never sampled, 2 solved at least once",
        "Last sampled: 4 never",
        "Greedy, zero-shot, on held-out questions",
        "alpha – 0.25 0.25 0.25",
        "46.9 % 4.50e12 20.0 %",  # collecting used 10, 20 and 30 % of the peak
        "Questions per cell: 1 or more.",
        "train question 0 <i>?</i>",
        "score 50 %",
        "hinted",
        "<u>13</u> expected 12",
    ):
        assert expected in shown.text
    assert shown.elements.count("svg") == 6
    heat = [value for name, value in shown.attributes if name == "style" and value.startswith("--share")]
    assert heat[:4] == ["--share: 0.625", "--share: 0.312", "--share: 0.625", "--share: 0.312"]


def test_a_question_after_worked_examples_is_not_called_zero_shot(run: Path) -> None:
    (run / "config.yaml").write_text("task:\n  bare_shots: 3\nmodel:\n  chat_template: true\n")
    shown = page(run).text
    assert "Greedy, after 3 worked examples, in the chat template, on held-out" in shown
    assert "zero-shot" not in shown


def test_what_was_never_sampled_is_neither_solved_nor_failed(run: Path) -> None:
    statistics = Statistics.empty(3)
    statistics.attempts[:2], statistics.wins[:1], statistics.last_sampled[:2] = 2, 2, 2
    _, drawn = sampling(statistics)
    bars = re.findall(r'<path d="M ([\d.]+) ([\d.]+) L [^"]*" clip-path[^>]*style="fill: var\(--(\w+)\)', drawn.drawing)
    assert {colour for *_, colour in bars} == {"first", "second", "third"}
    assert "1 never, 2 in iteration 2" in drawn.caption


def test_what_the_model_wrote_is_shown_as_text(run: Path) -> None:
    shown = page(run)
    assert (
        '<script>alert("own")</script> </article></main> &amp; {{ 7 * 7 }} <img src=x onerror=alert(1)> ␀?'
        in shown.text
    )
    assert "<u>13</u>" in shown.text and "<b>carry</b>" in shown.text and "a<run>" in shown.text
    assert "model: name_or_path: </pre><script>" in shown.text
    assert not {"img", "u", "b", "i"} & set(shown.elements)
    (script,) = [text for element, text in shown.texts if element == "script"]  # the page's own
    assert shown.elements.count("script") == 1 and "alert" not in script
    assert not [name for name, _ in shown.attributes if name.startswith("on")]


def test_the_page_needs_no_other_file(run: Path) -> None:
    html = write(run).read_text(encoding="utf-8")
    shown = Page(html)
    assert not {"link", "iframe", "object", "embed", "base"} & set(shown.elements)
    references = [value for name, value in shown.attributes if name in ("src", "href", "xlink:href")]
    assert references and all(reference.startswith("#") for reference in references)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    assert "@import" not in html


def test_identifiers_are_unique_and_drawings_have_texts_for_the_blind(run: Path) -> None:
    shown = page(run)
    identifiers = [value for name, value in shown.attributes if name == "id"]
    assert identifiers and len(identifiers) == len(set(identifiers))
    labels = [value for name, value in shown.attributes if name == "aria-label"]
    assert "Accuracy by iteration: test from 25 % to 62.5 %; validation from 25 % to 62.5 %" in labels


def test_drawings_have_the_colours_of_the_page(run: Path) -> None:
    html = write(run).read_text(encoding="utf-8")
    drawings = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert "var(--first)" in drawings and "var(--ink)" in drawings
    assert "#0" not in re.sub(r'(href="|url\()#', "", drawings)


def test_equal_files_give_equal_bytes_in_another_process(run: Path) -> None:
    here = write(run).read_bytes()
    (run / "report.html").unlink()
    subprocess.run([sys.executable, "-m", "star_loop.report", run], check=True, capture_output=True)
    assert (run / "report.html").read_bytes() == here


def test_an_uncommitted_iteration_does_not_count(run: Path) -> None:
    before = write(run).read_bytes()
    unfinished = RunDirectory(run).iteration(4)
    unfinished.wave(0, ASKED, lambda: WAVE)
    (unfinished.path / "metrics.json").write_text('{"evaluation/accuracy": 1.0}')
    assert write(run).read_bytes() == before


def test_the_base_model_alone_has_a_page(tmp_path: Path) -> None:
    commit(RunDirectory(tmp_path), 0, metrics_of(0))
    shown = page(tmp_path)
    assert shown.open == []
    assert "Only the base model has been measured so far" in shown.text
    assert "25.0 %" in shown.text and "→" not in shown.text
    assert "svg" not in shown.elements
    assert "answers of the base model to the test questions" in shown.text


@pytest.mark.parametrize("dropped", ["evaluation/", "validation/", "collect/", "train/", "flops/", "seconds/", ""])
def test_any_metric_may_be_absent(tmp_path: Path, dropped: str) -> None:
    run = RunDirectory(tmp_path)
    for iteration in range(3):
        kept = {name: value for name, value in metrics_of(iteration).items() if not name.startswith(dropped)}
        commit(run, iteration, kept)
    shown = page(tmp_path)
    assert shown.open == []
    assert ("25.0 % → 50.0 %" in shown.text) == (dropped not in ("evaluation/", ""))
    assert ("Training loss" in shown.text) == (dropped not in ("train/", ""))


def test_a_test_split_that_is_measured_seldom(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for iteration in range(4):
        dropped = "evaluation/" if iteration in (1, 3) else "nothing"
        commit(run, iteration, {k: v for k, v in metrics_of(iteration).items() if not k.startswith(dropped)})
    shown = page(tmp_path)
    assert "25.0 % → 50.0 %" in shown.text
    assert "iteration 0 → 2" in shown.text


@pytest.fixture
def answered(tmp_path: Path) -> Path:
    """Four test questions before and after; question k was right before if k is odd, and is right after if k > 1."""
    directory = RunDirectory(tmp_path / "answered")
    directory.publish_observations({"test": [observation("test", k) for k in range(4)]})
    for iteration in (0, 1):
        right = [k > 1 if iteration else k % 2 == 1 for k in range(4)]
        rollouts = [rollout(k, "test", correct=right[k], text=f"{HOSTILE} {iteration}/{k}") for k in range(4)]
        sampled = [rollout(0, "test", attempt=1, text="sampled, not greedy")]
        directory.iteration(iteration).evaluation("test", lambda r=rollouts, s=sampled: [*r, *s])  # type: ignore[misc]
        directory.iteration(iteration).commit(
            adapter=None, metrics=metrics_of(iteration), statistics=Statistics.empty(4), beliefs={}
        )
    return directory.path


def test_answers_of_the_first_and_the_last_model_stand_side_by_side(answered: Path) -> None:
    shown = page(answered)
    assert shown.open == []
    assert "1 learned, 1 forgotten, 1 still right, 1 still wrong." in shown.text
    assert "Shown are the first few" not in shown.text
    verdicts = [text for element, text in shown.texts if text in CHANGES and element != "option"]
    assert verdicts == ["still wrong", "forgotten", "learned", "still right"]
    section = shown.text.partition("Answers, before and after")[2]
    assert re.findall(r" ([01]/\d)\b", section) == ["0/0", "1/0", "0/1", "1/1", "0/2", "1/2", "0/3", "1/3"]
    assert "sampled, not greedy" not in section
    answers = [
        dict(attributes) for tag, attributes in shown.tags if tag == "article" and "data-now" in dict(attributes)
    ]
    assert [answer["data-change"] for answer in answers] == verdicts
    assert [answer["data-skill"] for answer in answers] == [*SKILLS, *SKILLS]


def test_the_pages_own_script_is_the_only_one_and_the_page_does_without(answered: Path) -> None:
    shown = page(answered)
    (script,) = [text for element, text in shown.texts if element == "script"]
    assert "alert" not in script and shown.elements.count("script") == 1
    form = [attributes for tag, attributes in shown.tags if tag == "form"]
    assert [dict(attributes).get("hidden", "shown") for attributes in form] == [
        None,
        None,
    ]  # until the script shows them
    hidden = [tag for tag, attributes in shown.tags if "hidden" in dict(attributes)]
    assert hidden == ["form", "form"]


def test_of_many_answers_some_of_each_skill_and_change_are_shown(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    n = 2000
    run.publish_observations({"test": [observation("test", k) for k in range(n)]})
    for iteration in (0, 1):
        rollouts = [rollout(k, "test", correct=bool(iteration) and k % 50 < 2) for k in range(n)]
        run.iteration(iteration).evaluation("test", lambda r=rollouts: r)  # type: ignore[misc]
        run.iteration(iteration).commit(adapter=None, metrics={}, statistics=Statistics.empty(1), beliefs={})
    found = answers(run)
    assert found is not None
    assert dict(found.counts) == {"learned": 80, "forgotten": 0, "still right": 0, "still wrong": 1920}
    shown = Counter((answer.skill, answer.change) for answer in found.chosen)
    assert shown == {(skill, change): MOST // 4 for skill in SKILLS for change in ("learned", "still wrong")}
    assert "Shown are the first few of each skill and change." in page(tmp_path).text


def test_missing_and_empty_runs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Path) -> None:
    assert main([str(tmp_path / "nowhere"), str(run)]) == 2
    captured = capsys.readouterr()
    assert "nowhere is not a directory: give a run directory" in captured.err
    assert captured.out == f"{run / 'report.html'}\n"  # the other one is written all the same
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2
    assert "has no committed iteration" in capsys.readouterr().err
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["iterations/0003/metrics.json", "iterations/0003/waves/000.jsonl", "observations.parquet",
             "iterations/0003/statistics.parquet", "config.yaml"]
)  # fmt: skip
def test_a_damaged_file_is_named(run: Path, name: str) -> None:
    (run / name).write_bytes(b"{ \xff torn")
    with pytest.raises(RunError, match=re.escape(name.rpartition("/")[2])):
        write(run)


def test_histogram_counts_every_observation_once() -> None:
    counts = np.array([0, 0, 1, 2, 25, 36], np.int32)
    labels, numbers = histogram(counts, 36)
    assert labels[:3] == ["0", "1–3", "4–6"] and labels[-1] == "34–36" and len(labels) == 13
    assert numbers == [2, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1]
    assert histogram(counts[:4], 4) == (["0", "1", "2", "3", "4"], [2, 1, 1, 0, 0])


def test_long_rationales_are_cut() -> None:
    assert visible("x" * 2000) == "x" * 2000
    assert visible("x" * 3500) == "x" * 2000 + " … (1,500 more characters)"


def luminance(colour: tuple[float, ...]) -> float:
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_of_text_has_the_contrast_of_wcag_aa() -> None:
    """At least 4.5 : 1 (WCAG 2.2, 1.4.3), on the page, on cards, and in the darkest cell of the heat map."""
    css = (Path(write.__code__.co_filename).parent / "report.css").read_text()
    share = int(re.search(r"var\(--share\) \* (\d+)%", css)[1]) / 100  # type: ignore[index]
    themes = re.findall(r":root \{(.*?)\}", css, flags=re.S)
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        named = {
            name: tuple(int(code[i : i + 2], 16) for i in (0, 2, 4))
            for name, code in re.findall(r"--(\w+): #([0-9a-f]{6})", theme)
        }
        heat = tuple(share * a + (1 - share) * b for a, b in zip(named["first"], named["card"], strict=True))
        pairs = [(name, behind) for name in set(named) - {"page", "card", "rule"} for behind in ("page", "card")]
        for name, behind in [*((n, named[b]) for n, b in pairs), ("ink", heat)]:
            low, high = sorted((luminance(named[name]), luminance(behind)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, theme)


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
def test_a_browser_runs_the_filter_and_asks_for_nothing_else(answered: Path, tmp_path: Path) -> None:
    assert BROWSER is not None
    page = f"{write(answered).resolve().as_uri()}#reason=equal&shortest=9&text=OWN&now=wrong"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run([BROWSER, *options, page], capture_output=True, text=True, check=False, timeout=120)
    shown = re.findall(r"<output[^>]*>(\d+) of (\d+)</output>", done.stdout)
    assert shown == [("4", "5"), ("2", "4")], done.stderr[-500:]
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", done.stdout)
