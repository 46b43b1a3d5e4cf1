"""The run's own model on vLLM's own OpenAI server: what it generates is what the same weights generate here."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from star_loop.embedded import TINY
from star_loop.errors import EngineError
from star_loop.generators.openai import OpenAI
from star_loop.generators.served import Served, ServedEngine
from star_loop.generators.transformers import Transformers
from star_loop.launch import launch
from star_loop.models import Model, Pretrained
from star_loop.records import Completion, Observation, Request, Sampling
from star_loop.run.directory import RunDirectory
from star_loop.servers import Client
from tests.quiz import configure
from tests.small_models import write_adapter
from tests.vllm_server import vllm_server

BASE = Pretrained(name_or_path=str(TINY))
QUESTIONS = ("q54r87s18t56=", "What is 2 + 3?", "1 + 1 = ", "")
GREEDY, FREE = Sampling(temperature=0.0, max_tokens=16), Sampling(temperature=1.0, max_tokens=16)
pytestmark = pytest.mark.engine


def ask(sampling: Sampling, n: int = 1, questions=QUESTIONS) -> list[Request]:
    return [
        Request(
            prompt=text, observation=Observation(id=f"q/{k}", question=text, answer="?"), sampling=sampling, n=n, seed=k
        )
        for k, text in enumerate(questions)
    ]


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    with vllm_server(TINY, tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="module")
def adapted(tmp_path_factory) -> Model:
    adapter = write_adapter(TINY, tmp_path_factory.mktemp("run") / "iterations/0001/adapter", scale=0.1)
    return Model(base=BASE, adapter=adapter)


@pytest.fixture
def engine(url: str, tmp_path: Path) -> Iterator[ServedEngine]:
    with Served(base_url=url, dtype="float32", max_lora_rank=8).engine(BASE, workspace=tmp_path, seed=0) as engine:
        yield engine


def test_base_and_adapter_generate_there_what_they_generate_here(
    engine: ServedEngine, adapted: Model, tmp_path: Path
) -> None:
    drawn = {}
    with Transformers().engine(BASE, workspace=tmp_path, seed=0) as here:
        for model in (Model(base=BASE), adapted, Model(base=BASE)):
            for one in (engine, here):
                one.serve(model)
            drawn[model.iteration] = there = engine.generate(ask(GREEDY, n=2), seed=0)
            assert there == here.generate(ask(GREEDY, n=2), seed=0)  # texts, token ids, counts
    assert drawn[0] != drawn[1]


def test_a_seed_and_a_prompt_determine_a_text_whatever_is_asked_beside_it(engine: ServedEngine) -> None:
    arrived: dict[int, list[Completion]] = {}
    whole = engine.generate(ask(FREE, n=3), seed=0, arrived=lambda k, drawn: arrived.__setitem__(k, drawn))
    assert [arrived[k] for k in range(len(whole))] == whole
    assert engine.generate(ask(FREE, n=3)[2:], seed=9) == whole[2:]
    assert engine.generate([replace(r, seed=r.seed + 100) for r in ask(FREE, n=3)], seed=0) != whole
    assert len({completion.text for completion in whole[1]}) > 1


def test_stop_strings_and_prompts_that_fill_the_context(engine: ServedEngine) -> None:
    text = engine.generate(ask(GREEDY), seed=0)[0][0].text
    stop = text[len(text) // 2]
    [[cut]] = engine.generate(ask(replace(GREEDY, stop=(stop,)), questions=QUESTIONS[:1]), seed=0)
    assert cut.text == text.partition(stop)[0] and cut.finish == "stop" and cut.ids[-1] == engine._end
    [[long]] = engine.generate(ask(GREEDY, questions=("9" * 5000,)), seed=0)
    assert (long.text, long.finish, long.tokens) == ("", "length", 0)


def test_a_server_that_goes_on_with_old_weights_is_found_out(
    engine: ServedEngine, adapted: Model, tmp_path: Path
) -> None:
    assert adapted.adapter is not None
    other = shutil.copytree(adapted.adapter, tmp_path / "0002/adapter")
    canary = json.loads((other / "canary.json").read_text())
    canary["before"], canary["after"] = canary["after"], [value - 9 for value in canary["before"]]
    (other / "canary.json").write_text(json.dumps(canary))
    with pytest.raises(EngineError, match="canary: after the swap the engine still generates with old weights"):
        engine.serve(Model(base=BASE, adapter=other))


def test_an_adapter_that_the_server_cannot_load_is_told(engine: ServedEngine, adapted: Model, tmp_path: Path) -> None:
    broken = shutil.copytree(adapted.adapter, tmp_path / "broken")
    (broken / "adapter_config.json").unlink()
    with pytest.raises(EngineError, match=r"the server cannot load .*VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
        engine.serve(Model(base=BASE, adapter=broken))


def test_the_server_is_left_as_it_was(url: str, adapted: Model, tmp_path: Path) -> None:
    served = Served(base_url=url, dtype="float32")
    with served.engine(BASE, workspace=tmp_path, seed=0) as engine:
        engine.serve(adapted)
        assert len(Client(served).models()) == 2
    assert Client(served).models() == ["tiny"]


def test_a_teacher_on_the_same_server(url: str, tmp_path: Path) -> None:
    teacher = OpenAI(base_url=url, api="completions")
    teacher.check()
    with teacher.engine(BASE, workspace=tmp_path, seed=0) as engine:
        drawn = engine.generate(ask(FREE, n=2, questions=QUESTIONS[:3]), seed=0)
        assert [len(each) for each in drawn] == [2] * 3
        assert engine.generate(ask(FREE, n=2, questions=QUESTIONS[:3]), seed=0) == drawn
        assert engine.client.journal.spent.requests == 3
        [[long]] = engine.generate(ask(GREEDY, questions=("9" * 5000,)), seed=0)
        assert (long.text, long.finish) == ("", "length")


def test_a_run_learns_with_its_model_on_the_server(url: str, tmp_path: Path) -> None:
    config = configure(
        "generator=served", f"generator.base_url={url}", f"outputs={tmp_path}", "iterations=2", "schedule.steps=2",
        "schedule.quota=8", "schedule.wave=8", "task.levels={addition:[2]}", "task.train_per_level=16",
        "task.validation_per_level=1", "task.test_per_level=1", "generator.max_tokens=40", "trainer.r=8",
        "~tracker@tracker.console", "~tracker@tracker.tensorboard",
    )  # fmt: skip
    launch(config, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    assert run.latest().number == 2
    assert all(rollout.ids for rollout in run.iteration(2).rollouts())
