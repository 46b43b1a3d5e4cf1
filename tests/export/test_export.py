"""What is exported loads elsewhere and says the same."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from star_loop.accounting.statistics import Statistics
from star_loop.config.build import build
from star_loop.embedded import TINY
from star_loop.export.__main__ import main
from star_loop.export.card import command, in_head, model_card, name_of
from star_loop.export.files import choose, copy_adapter, export
from star_loop.export.made import how_made
from star_loop.launch import launch
from star_loop.models import Pretrained
from star_loop.records import Example
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError
from tests.quiz import QUIZ, configure, play
from tests.small_models import write_adapter, write_llama

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("scripted")
    play(directory, "allocator.rollouts=4", "second_try=rationalize", "generator.table=[0.7,0.5,0.3]")
    return directory


def test_an_export_does_not_repeat_what_the_launch_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"q": f"How much is {k} plus 1?", "a": str(k + 1)} for k in range(60)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = ("task=file", f"task.path={tmp_path}/mine.jsonl", "task.question=q", "task.answer=a", "schedule.steps=1")
    launch(configure("experiment=smoke", *keys, "iterations=1", "~tracker.console"), tmp_path / "run")
    assert "so an accuracy on it is known to" in caplog.text
    line = [sys.executable, "-m", "star_loop.export", str(tmp_path / "run"), "--parts", "data"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines(), done.stderr) == ([str(tmp_path / "run/export/0001")], "")


def test_every_trained_rationale_is_exported(scripted: Path) -> None:
    table = parquet.read_table(export(scripted, "last", ["data"]) / "data/rationales.parquet")
    trained = [
        Example.from_json(line)
        for t in (1, 2, 3)
        for line in (scripted / f"iterations/{t:04d}/examples.jsonl").read_text().splitlines()
    ]
    assert table["prompt"].to_pylist() == [e.prompt for e in trained]
    assert table["completion"].to_pylist() == [e.completion for e in trained]
    assert set(table["iteration"].to_pylist()) == {1, 2, 3}


def test_pairs_are_every_correct_with_every_incorrect_rationale_of_a_question(scripted: Path) -> None:
    pairs = parquet.read_table(export(scripted, "last", ["data"]) / "data/pairs.parquet").to_pylist()
    expected = 0
    for t in (1, 2, 3):
        rollouts = [r for r in RunDirectory(scripted).iteration(t).rollouts() if not r.hinted]
        for position in {r.position for r in rollouts}:
            correct = [r.correct for r in rollouts if r.position == position]
            expected += sum(correct) * (len(correct) - sum(correct))
    assert len(pairs) == expected > 0
    assert all("####" in p["chosen"] and "no idea" in p["rejected"] for p in pairs)
    assert all("answer: " not in p["prompt"] for p in pairs)


def test_the_data_set_loads_in_datasets_under_both_names(
    scripted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason='needs the extra "star_loop[hub]"')
    folder = export(scripted, "last", ["data"]) / "data"
    for name, columns in (("rationales", ["prompt", "completion"]), ("pairs", ["prompt", "chosen", "rejected"])):
        loaded = datasets.load_dataset(str(folder), name, split="train", cache_dir=str(tmp_path))
        assert loaded.column_names == [*columns, *(["weight"] if name == "rationales" else []), "id", "iteration"]
        assert loaded.num_rows == parquet.read_metadata(folder / f"{name}.parquet").num_rows > 0


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30) | st.sampled_from(
    ["a: b # c", "mit\ntags: [evil]\nbase_model: x", "true", "1.5", "[a", "# no", "'", "", " x "]))  # fmt: skip
def test_no_text_breaks_out_of_a_cards_head(text: str) -> None:
    assert yaml.safe_load(f"before: 1\nkey: {in_head(text)}\nafter: 2") == {"before": 1, "key": text, "after": 2}


@pytest.mark.parametrize("damage", ["a: b", "[[[{", "\0"])
def test_a_damaged_record_of_the_command_is_named(scripted: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(scripted, tmp_path / "run")
    attempt = tmp_path / "run/attempts/99999999-000000"
    attempt.mkdir(parents=True)
    (attempt / "overrides.yaml").write_text(damage)
    assert command(RunDirectory(tmp_path / "run")).endswith("overrides.yaml is damaged)")


def test_the_cards_say_where_it_all_comes_from(scripted: Path) -> None:
    out = export(scripted, "last", ["data"])
    model, data = (out / "README.md").read_text(), (out / "data/README.md").read_text()
    metrics = RunDirectory(scripted).iteration(3).metrics()
    assert "license: other" in model and "license: other" in data
    assert f"{100 * metrics['evaluation/accuracy']:.1f} %" in model
    for card in (model, data):
        assert all(part in card for part in ("| task | Quiz |", "AdaStar", "| seed | 0 |", "`python -m star_loop"))
        assert str(scripted) not in card


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ((), "written by a script in place of a model, judged by `Exact`, and chosen by"),
        (("generator=openai", "generator.model=big", "generator.base_url=http://there/v1"),
         "written by `big` on a server, not by the model that learns, judged"),
        (("generator=openai", "generator.model=big", "generator.base_url=http://there/v1", "generator.until=2"),
         "written up to iteration 2 by `big` on a server, then by `scripted` and the models that it became, judged"),
        (("generator=teachers", "generator.path=mine.jsonl"), "read from a file; where it held none"),
        (("generator=pool", "generator.path=mine.jsonl"), "read from a file, whose writers it names or nobody knows"),
        (("generator=vllm",), "written by `scripted` and the models that it became, judged by `Exact`, and chosen by"),
        (("selectors=faithful", "task.labels=majority", "allocator.rollouts=8"),
         "judged by `Exact`, against the answer of the majority, and chosen by `Faithful`"),
        (("task.verifier._target_=star_loop.verifiers.chain.Chain",), "judged by `Chain`"),
        (("reward=judge", "reward.server.base_url=http://there/v1", "reward.server.model=big"), "marked by `Judge`"),
    ],
)  # fmt: skip
def test_the_cards_say_who_wrote_who_judged_and_what_chose(keys: tuple[str, ...], said: str) -> None:
    assert said in how_made(build(configure(*QUIZ, "trainer=scripted", *keys)))


def test_wrong_rationales_that_were_trained_on_are_counted(scripted: Path, tmp_path: Path) -> None:
    play(tmp_path, "selectors=contrast", "second_try=none", "generator.table=[0.7,0.5,0.3]")
    examples = [example for t in (1, 2, 3) for example in RunDirectory(tmp_path).iteration(t).examples(list)]
    wrong = sum(example.weight < 0 for example in examples)
    data = export(tmp_path, "last", ["data"]) / "data"
    card = (data / "README.md").read_text()
    assert wrong > 0 and f"{wrong} wrong ones, to be written less, are left out" in card
    assert parquet.read_metadata(data / "rationales.parquet").num_rows == len(examples) - wrong
    assert "all that was trained on" in (export(scripted, "last", ["data"]) / "data/README.md").read_text()


def test_the_model_card_says_how_to_load_it_and_what_it_was_trained_with(scripted: Path) -> None:
    run = RunDirectory(scripted)
    card = model_card(run, build(run.config()), run.iteration(3), "other")
    only_data = (export(scripted, "last", ["data"]) / "README.md").read_text()
    assert "How to load" not in only_data and "adapter/" not in only_data and "| data |" in only_data
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "other" and "adapter" not in head
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)\n^```$", card, flags=re.M | re.S))
    compile(blocks["python"], "card", "exec")
    assert blocks["text"].startswith("Q: What is ") and blocks["text"].endswith("\nA: ")
    settings = yaml.safe_load(blocks["yaml"])
    assert settings["task"]["_target_"] == "tests.quiz.Quiz" and not {"outputs", "name", "tracker"} & set(settings)
    assert "Accuracy is greedy, zero-shot, with" in card


def test_nothing_in_a_prompt_ends_its_block(scripted: Path, tmp_path: Path) -> None:
    shutil.copytree(scripted, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    prompt = "```\n# A heading\n````\x1ea turn"
    run.iteration(4).examples(lambda: [Example(position=0, id="a", prompt=prompt, completion="b")])
    experiment = build(run.config())
    run.iteration(4).commit(adapter=None, metrics={}, statistics=Statistics.empty(1), beliefs={})
    card = model_card(run, experiment, run.iteration(4), "other")
    assert "`````text\n```\n# A heading\n````\n[the next turn]\na turn\n`````\n" in card


def test_an_exported_adapter_names_a_base_that_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft import AutoPeftModelForCausalLM

    write_llama(tmp_path / "mine")
    for name, base, directory in (("tiny", TINY, "base"), (str(tmp_path / "mine"), tmp_path / "mine", None)):
        out = tmp_path / f"of {base.name}"
        out.mkdir()
        write_adapter(base, out / "trained")
        copy_adapter(out / "trained", Pretrained(name_or_path=name), out / "adapter")
        assert (out / "base").is_dir() == (directory == "base")
        monkeypatch.chdir(out)
        loaded = AutoPeftModelForCausalLM.from_pretrained("adapter")
        assert loaded.peft_config["default"].base_model_name_or_path == (directory or str(base))
    assert name_of(Pretrained(name_or_path="me/mine")) == "me/mine"


def test_the_model_card_says_what_a_converted_base_was_made_from(scripted: Path, tmp_path: Path) -> None:
    run = RunDirectory(scripted)
    made = {"source": "small.gguf", "sha256": "0" * 64, "license": "apache-2.0"}
    (tmp_path / "provenance.json").write_text(json.dumps(made))
    experiment = build(run.config())
    converted = experiment.model_copy(update={"model": Pretrained(name_or_path=str(tmp_path))})
    said = f"| base weights | converted from `small.gguf` (SHA-256 `{'0' * 64}`), licence apache-2.0 |"
    assert said in model_card(run, converted, run.iteration(3), "other")
    assert "base weights" not in model_card(run, experiment, run.iteration(3), "other")


def test_the_command_is_the_one_that_was_typed(tmp_path: Path) -> None:
    for when, overrides in (
        ("20260101-000000", ["seed=1"]),
        ("20260102-000000", ["seed=1", "++task.question={a} and b"]),
    ):
        (tmp_path / "attempts" / when).mkdir(parents=True)
        (tmp_path / "attempts" / when / "overrides.yaml").write_text("".join(f"- '{o}'\n" for o in overrides))
    assert command(RunDirectory(tmp_path)) == "python -m star_loop seed=1 'task.question={a} and b'"


def test_an_export_without_a_part_is_not_taken_for_one_that_has_it(scripted: Path) -> None:
    assert export(scripted, "2", ["data"]) == export(scripted, "2", ["data"])
    with pytest.raises(RunError, match="exported without merged: move it away"):
        export(scripted, "2", ["merged"])


@pytest.mark.parametrize(
    "environment, message",
    [
        ({"HF_HUB_OFFLINE": "1", "HF_TOKEN": "x"}, "HF_HUB_OFFLINE is set"),
        ({"HF_HUB_OFFLINE": "0", "HF_TOKEN": ""}, "needs a token"),
        ({"HF_HUB_OFFLINE": "0", "HF_TOKEN": "x", "HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub did not take it"),
    ],
)
def test_a_push_that_cannot_be_is_explained_and_the_export_stays(
    scripted: Path, tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    line = [sys.executable, "-m", "star_loop.export", str(scripted), "--iteration", "last", "--parts", "data"]
    done = subprocess.run(
        [*line, "--push", "me/mine"], cwd=ROOT, env={**os.environ, "HF_HOME": str(tmp_path), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert done.stdout == f"{scripted / 'export/0003'}\n"


def test_best_is_chosen_on_validation(scripted: Path) -> None:
    run = RunDirectory(scripted)
    curve = [metrics["validation/accuracy"] for metrics in run.committed_metrics()]
    assert curve[choose(run, "best").number] == max(curve[1:])


@pytest.mark.parametrize("iteration", ["0", "9", "-1", "first"])
def test_an_iteration_that_is_not_there_is_refused(scripted: Path, iteration: str) -> None:
    with pytest.raises(RunError, match="give best, last or a number from 1 to 3"):
        choose(RunDirectory(scripted), iteration)


def test_a_scripted_run_has_no_adapter(scripted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(scripted), "--iteration", "1", "--parts", "adapter"]) == 2
    assert "only a run of trainer=lora has an adapter" in capsys.readouterr().err
    assert not list(scripted.glob("export/*0001*"))


def test_a_directory_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no trained iteration to export" in capsys.readouterr().err


@pytest.mark.engine
def test_the_adapter_and_the_merged_model_answer_alike_in_transformers_and_vllm(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "star_loop", "name=run", f"outputs={tmp_path}", "iterations=1", "generator=transformers",
        "task.levels={addition:[4,5]}", "task.train_per_level=30", "task.validation_per_level=5",
        "task.test_per_level=3", "schedule.steps=3", "trainer.target_modules=[q_proj,down_proj,lm_head,embed_tokens]", "~tracker.tensorboard",
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert RunDirectory(tmp_path / "run").iteration(1).metrics()["collect/correct"] > 0, "as every generator's"
    out = export(tmp_path / "run")
    assert (out / "README.md").read_text().startswith("---\nlicense: other\n")
    assert str(ROOT) not in (out / "adapter/adapter_config.json").read_text()

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from star_loop.generators.vllm import Vllm
    from star_loop.models import Model, Pretrained
    from star_loop.records import Request, Sampling
    from star_loop.tasks.arithmetic import Arithmetic

    observations = Arithmetic(levels={"addition": (4, 5)}, test_per_level=3).test()
    tokenizer = AutoTokenizer.from_pretrained(out / "merged")
    merged = AutoModelForCausalLM.from_pretrained(out / "merged")
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(out / "base"), str(out / "adapter"))

    def greedy(model: torch.nn.Module) -> list[str]:
        texts = []
        for observation in observations:
            inputs = tokenizer(observation.question, return_tensors="pt")
            ids = model.generate(**inputs, do_sample=False, max_new_tokens=160)[0, inputs["input_ids"].shape[1] :]
            texts.append(tokenizer.decode(ids, skip_special_tokens=True))
        return texts

    expected = greedy(merged)
    assert greedy(tuned) == expected
    served = Pretrained(name_or_path=str(out / "merged"))
    sampling = Sampling(temperature=0.0, max_tokens=160)
    requests = [Request(prompt=o.question, observation=o, sampling=sampling) for o in observations]
    with Vllm(threads=1).engine(served, workspace=tmp_path / "engine", seed=0) as engine:
        engine.serve(Model(base=served))
        assert [drawn[0].text for drawn in engine.generate(requests, seed=0)] == expected
    # The adapter as a LoRARequest: vLLM applies it to the base itself. An adapter without a canary is only warned of.
    base = Pretrained(name_or_path="tiny")
    with Vllm(threads=1, adapter="lora").engine(base, workspace=tmp_path / "lora", seed=0) as engine:
        engine.serve(Model(base=base, adapter=out / "adapter"))
        assert [drawn[0].text for drawn in engine.generate(requests, seed=0)] == expected
