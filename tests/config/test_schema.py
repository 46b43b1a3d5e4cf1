"""The JSON Schemas are the constructors': every shipped file is valid, and what `build` refuses is refused."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from omegaconf import OmegaConf

from star_loop.config.component import Component
from star_loop.config.hydra import CONF, composed
from star_loop.config.schema import COMMENT, Schema, components, group_of, main, schema
from star_loop.config.target import component_class
from tests.quiz import configure

FILES = sorted(path for path in CONF.rglob("*.yaml") if "hydra" not in path.relative_to(CONF).parts)


@pytest.fixture(scope="module")
def known() -> list[type[Component]]:
    return [c for c in components() if c.__module__.startswith("star_loop.")]


@pytest.fixture(scope="module")
def schemas(known: list[type[Component]]) -> dict[str | None, Schema]:
    return {name: schema(name, known) for name in {group_of(path) for path in FILES}}


def errors(of: Schema, content: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in Draft202012Validator(of).iter_errors(content)]


def content(text: str) -> Any:
    return OmegaConf.to_container(OmegaConf.create(text), resolve=False)


def test_every_shipped_file_is_valid(schemas: dict[str | None, Schema]) -> None:
    for one in schemas.values():
        Draft202012Validator.check_schema(one)
    wrong = {
        path.relative_to(CONF).as_posix(): found
        for path in FILES
        if (found := errors(schemas[group_of(path)], content(path.read_text(encoding="utf-8"))))
    }
    assert wrong == {} and len(FILES) > 90
    assert {"root" if name is None else name for name in schemas} >= {"root", "sampler", "task", "selectors", "tracker"}


@pytest.mark.parametrize(
    "overrides", [("experiment=smoke",), ("experiment=skill_it", "scorer=student"), ("task=math",)]
)
def test_what_runs_is_valid(schemas: dict[str | None, Schema], overrides: tuple[str, ...]) -> None:
    assert errors(schemas[None], json.loads(json.dumps(configure(*overrides), default=str))) == []


@pytest.mark.parametrize(
    "group, text",
    [
        ("sampler", "{_target_: star_loop.samplers.adastar.AdaStar, powr: 2}"),
        ("sampler", "{_target_: star_loop.samplers.adastar.AdaStar, power: hello}"),
        ("sampler", "{_target_: star_loop.samplers.adastar.AdaStar, power: -1}"),
        ("sampler", "{_target_: star_loop.samplers.adastar.AdaStart}"),
        ("sampler", "{_target_: star_loop.selectors.family.Correct}"),
        ("selectors", "{cap: {_target_: star_loop.selectors.family.Cap, limit: 0}}"),
        ("tracker", "{_target_: star_loop.trackers.WandB, mode: sometimes}"),
        (None, "{seeed: 1}"),
        (None, "{seed: -1}"),
        (None, "{start_from: scratch}"),
        (None, "{schedule: {quota: often}}"),
        (None, "{sampler: {mixture: {no_such_key: 1}}}"),
        (None, "{task: {verifier: {_target_: star_loop.samplers.uniform.Uniform}}}"),
    ],
)
def test_what_the_constructors_refuse_is_refused(
    schemas: dict[str | None, Schema], group: str | None, text: str
) -> None:
    assert errors(schemas[group], content(text))


@pytest.mark.parametrize(
    "group, text",
    [
        ("sampler", "{_target_: my_sampler.Longest, anything: 1}"),
        ("sampler", "{_target_: star_loop.samplers.adastar.AdaStar, power: '${seed}'}"),
        ("trainer", "{_target_: star_loop.trainers.lora.Lora, batch_size: '${schedule.batch}', learning_rate: 5e-4}"),
        (None, "{defaults: [{override /sampler: mine}, _self_], sampler: {power: 2}, task: {verifier: math}}"),
        (None, "{search: null, fork: '???', scorer: null}"),
    ],
)
def test_what_is_ones_own_or_an_interpolation_is_left_alone(
    schemas: dict[str | None, Schema], group: str | None, text: str
) -> None:
    assert errors(schemas[group], content(text)) == []


def test_each_key_has_its_meaning_and_its_default(known: list[type[Component]]) -> None:
    parts = schema("sampler", known)["anyOf"]
    (adastar,) = [part for part in parts if part["title"] == "AdaStar"]
    power = adastar["properties"]["power"]
    from star_loop.samplers.adastar import AdaStar

    assert power["default"] == AdaStar.model_fields["power"].default and power["description"]
    assert adastar["properties"]["_target_"]["enum"] == ["star_loop.samplers.adastar.AdaStar"]
    assert adastar["description"].startswith((AdaStar.__doc__ or "").split("\n")[0][:20])


def test_every_component_that_conf_names_is_known(known: list[type[Component]]) -> None:
    def targets(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["_target_"]] if "_target_" in node else []
            return own + [target for child in node.values() for target in targets(child)]
        return []

    named = {target for path in FILES for target in targets(content(path.read_text(encoding="utf-8")))}
    assert {component_class(target, "here") for target in named} <= set(known)


def test_the_command_names_schemas_in_files_which_compose_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    conf, schemas = tmp_path / "conf", tmp_path / "schemas"
    for name in ("experiment/own.yaml", "sampler/mine.yaml"):
        (conf / name).parent.mkdir(parents=True)
    (conf / "experiment/own.yaml").write_text("# @package _global_\n# My own.\nname: own\niterations: 2\n")
    (conf / "sampler/mine.yaml").write_text("_target_: schema_of_my_own.Mine\nlongest: 3\n")
    source = "from star_loop.samplers.uniform import Uniform\n\n\nclass Mine(Uniform):\n    longest: int = 2\n"
    (tmp_path / "schema_of_my_own.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):  # the second time changes nothing
        assert main([str(schemas), "--comment", str(conf), "--module", "schema_of_my_own"]) == 0
        assert (conf / "experiment/own.yaml").read_text().splitlines()[:2] == [
            f"{COMMENT}../../schemas/root.json", "# @package _global_",
        ]  # fmt: skip
        assert (conf / "sampler/mine.yaml").read_text().startswith(f"{COMMENT}../../schemas/sampler.json\n_target_")
    own = json.loads((schemas / "sampler.json").read_text())
    assert errors(own, {"_target_": "schema_of_my_own.Mine", "longest": 3}) == []
    assert "Mine" in {part["title"] for part in own["anyOf"]}
    assert capsys.readouterr().out.count("experiment/own.yaml") == 2
    assert main([str(schemas), "--module", "no_such_module"]) == 2
    assert "--module no_such_module: " in capsys.readouterr().err
    assert main([str(schemas), "--comment", str(tmp_path / "nowhere")]) == 2
    sys.modules.pop("schema_of_my_own")
    assert composed(["experiment=smoke"])["name"] == "smoke"


def test_a_file_is_not_taken_for_a_folder_and_a_pipe_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file")]) == 2
    assert "is no folder" in capsys.readouterr().err
    conf, schemas = tmp_path / "conf", tmp_path / "schemas"
    for folder in (conf, schemas):
        folder.mkdir()
    os.mkfifo(conf / "pipe.yaml")
    os.mkfifo(schemas / "root.json")
    assert main([str(schemas), "--comment", str(conf)]) == 0
    assert (schemas / "root.json").is_file()
