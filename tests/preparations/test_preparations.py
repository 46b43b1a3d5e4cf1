"""Clustering against brute force, embeddings against a forward pass, and the stage in the loop."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_loop.errors import ConfigError
from star_loop.generators.pool import write_golds
from star_loop.models import Model, Pretrained
from star_loop.preparations.clustering import farthest_points, kmeans, nearest, principal_components, standardised
from star_loop.preparations.clusters import core_set
from star_loop.preparations.embeddings import Embedder
from star_loop.preparations.skill_graph import strengths
from star_loop.records import Observation, Rollout
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError
from star_loop.seeding import rng
from tests.quiz import Quiz, contents, play
from tests.small_models import write_llama

# ------------------------------------------------------------------------------------------------- clustering


def scatter(x: np.ndarray, labels: np.ndarray) -> float:
    """Sum of squared distances to the means of the clusters."""
    return sum(((x[labels == c] - x[labels == c].mean(axis=0)) ** 2).sum() for c in np.unique(labels))


@settings(max_examples=40)
@given(st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**20))
def test_kmeans_finds_the_best_partition_of_a_few_points(n: int, dimensions: int, k: int, seed: int) -> None:
    x = rng(seed, "points").normal(size=(n, dimensions))
    labels, centres = kmeans(x, k, rng(seed), restarts=30)
    best = min(scatter(x, np.array(partition)) for partition in product(range(k), repeat=n))
    assert scatter(x, labels) == pytest.approx(best, abs=1e-9)
    assert all(centres[c] == pytest.approx(x[labels == c].mean(axis=0)) for c in np.unique(labels))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(1, 4))
def test_equal_points_are_in_one_cluster(values: list[int], k: int) -> None:
    x = np.array(values, np.float64)[:, None]
    labels, _ = kmeans(x, k, rng(0))
    assert all(len(set(labels[x[:, 0] == v])) == 1 for v in set(values))
    if k >= len(set(values)):
        assert scatter(x, labels) == pytest.approx(0)


def test_the_nearest_centre_of_more_points_than_fit_at_once() -> None:
    x, centres = rng(0).normal(size=(70_000, 3)), rng(1).normal(size=(4, 3))
    labels, distances = nearest(x, centres)
    naive = ((x[:, None] - centres) ** 2).sum(-1)
    assert (labels == naive.argmin(1)).all()
    assert distances == pytest.approx(naive.min(1))


def test_principal_components_are_those_of_the_singular_value_decomposition() -> None:
    x = rng(0).normal(size=(50, 6)) @ np.diag([9, 5, 3, 1, 0.5, 0.1])
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    assert np.abs(principal_components(x, 3)) == pytest.approx(np.abs(u * s)[:, :3])
    assert principal_components(x, 99).shape == (50, 6)


def test_standardised() -> None:
    x = standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert x.tolist() == [[-1, 0], [1, 0]]


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=12), st.integers(1, 6), st.integers(0, 11))
def test_farthest_points_are_always_the_farthest_from_those_chosen(values: list[int], m: int, first: int) -> None:
    x = np.array(values, np.float64)[:, None]
    start = first % len(values)
    chosen = farthest_points(x, start, m)
    assert chosen[0] == start
    assert len(chosen) == len(set(chosen)) == min(m, len(values))
    for k in range(1, len(chosen)):
        distances = [min(abs(v - values[c]) for c in chosen[:k]) for v in values]
        assert distances[chosen[k]] == max(distances)


def test_a_core_set_has_the_nearest_and_the_farthest_of_each_cluster() -> None:
    x = np.array([[0.0], [1.0], [2.0], [5.0], [100.0], [101.0]])
    labels = np.array([0, 0, 0, 0, 1, 1], np.int32)
    assert core_set(x, labels, np.array([[2.0], [100.4]]), 2).tolist() == [-1, -1, 0, 0, 1, 1]


# ------------------------------------------------------------------------------------------------- embeddings


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    return Pretrained(name_or_path=str(write_llama(tmp_path_factory.mktemp("llama"))))


def test_an_embedding_is_the_mean_of_the_last_hidden_states(llama: Pretrained) -> None:
    """Whatever it is padded with, and without the state of the beginning of the sequence."""
    import torch

    from star_loop.models.weights import load_model, load_tokenizer

    texts = ["one", "one and two", "x" * 700, ""]
    found, lengths = Embedder(llama)(texts)
    model, tokenizer = load_model(llama), load_tokenizer(llama)
    for text, embedding in zip(texts[:2], found, strict=False):
        with torch.inference_mode():
            hidden = model.model(torch.tensor([tokenizer(text).input_ids])).last_hidden_state[0]
        assert embedding == pytest.approx(hidden[1:].mean(0).numpy(), abs=1e-5)
    assert lengths == [4, 12, 512, 1]
    assert np.isfinite(found).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_clusters_by_a_sentence_encoder(tmp_path: Path, llama: Pretrained) -> None:
    """Against the encoder called by itself; what it costs are its own parameters."""
    pytest.importorskip("sentence_transformers", reason='needs pip install "star_loop[sentence]"')
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as models

    transformer = models.Transformer(llama.name_or_path, max_seq_length=32)
    transformer.tokenizer.pad_token = "<pad>"
    encoder = SentenceTransformer(modules=[transformer, models.Pooling(64)], device="cpu")
    encoder.save(str(tmp_path / "encoder"))
    found = run(tmp_path / "run", llama, f"preparation.clusters.embedder={tmp_path}/encoder", "iterations=0")
    questions = [o.question for o in Quiz().train()]
    with np.load(tmp_path / "run/preparation/clusters/embeddings/000.npz") as part:
        assert part["embeddings"] == pytest.approx(encoder.encode(questions[:4]), abs=1e-5)
        parameters = sum(p.numel() for p in encoder.parameters())
        assert part["spent"].tolist() == [4 * 20, 2 * parameters * 4 * 20, 0]
    assert found.iteration(0).metrics()["prepare/clusters/clusters"] == 3
    with pytest.raises(ValueError, match=r"cannot load preparation\.clusters\.embedder='.*nowhere'"):
        run(tmp_path / "bad", llama, f"preparation.clusters.embedder={tmp_path}/nowhere")


# ---------------------------------------------------------------------------------------------------- the loop

CLUSTERED = ("experiment=space", "preparation=clusters", "preparation.clusters.k=3", "sampler.by=[cluster]",
             "model=scripted", "generator=scripted", "trainer=scripted", "model._target_=star_loop.models.Pretrained")  # fmt: skip

PILOTS = ("preparation=[pilots,clusters]",)


def run(directory: Path, llama: Pretrained, *overrides: str) -> RunDirectory:
    play(directory, *CLUSTERED, f"model.name_or_path={llama.name_or_path}", *overrides)
    return RunDirectory(directory)


def test_a_bandit_over_clusters(tmp_path: Path, llama: Pretrained) -> None:
    """Difficulty alone: the scripted base solves levels 1 and 2 mostly, and level 3 never."""
    found = run(tmp_path, llama, *PILOTS, "generator.table=[1.0,0.5,0.0]",
                "preparation.clusters.difficulty_weight=100", "task.n=60", "schedule.wave=8")  # fmt: skip
    with np.load(tmp_path / "preparation/clusters/columns.npz") as columns:
        cluster = columns["cluster"]
    levels = np.arange(60) % 3
    assert len(set(cluster[levels == 0])) == len(set(cluster[levels == 2])) == 1
    assert cluster[0] != cluster[2]
    first, last = found.iteration(0).metrics(), found.iteration(3).metrics()
    assert first["prepare/pilots/solve_rate"] == pytest.approx(0.5, abs=0.1)
    assert first["prepare/clusters/clusters"] == 3
    assert first["prepare/clusters/kept"] == 60
    assert first["prepare/clusters/explained"] > 0.9
    assert last["flops/cumulative"] > first["flops/cumulative"] == first["flops/prepare"] > 0
    assert {f"sampler/mass/cluster_{c}" for c in range(3)} <= set(last)


def test_without_rollouts_the_level_is_the_difficulty(tmp_path: Path, llama: Pretrained) -> None:
    run(tmp_path, llama, "preparation.clusters.difficulty_weight=100", "iterations=0")
    with np.load(tmp_path / "preparation/clusters/columns.npz") as columns:
        cluster = columns["cluster"].tolist()
    assert cluster == cluster[:3] * 4
    assert len(set(cluster)) == 3


def test_only_the_core_set_is_asked(tmp_path: Path, llama: Pretrained) -> None:
    found = run(tmp_path, llama, "task.n=60", "preparation.clusters.core=4", "sampler.without=[no_cluster]",
                "generator.table=[1.0]", "schedule.quota=null", "iterations=1")  # fmt: skip
    with np.load(tmp_path / "preparation/clusters/columns.npz") as columns:
        core = np.flatnonzero(columns["cluster"] >= 0).tolist()
    assert found.iteration(0).metrics()["prepare/clusters/kept"] == len(core) == 12
    assert sorted({rollout.position for rollout in found.iteration(1).rollouts()}) == core


def test_what_was_prepared_is_never_prepared_again(tmp_path: Path, llama: Pretrained) -> None:
    """Stopped after any of its files, a run ends with the same bytes."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    options = (*PILOTS, "task.n=12", "iterations=2")
    run(whole, llama, *options)
    run(cut, llama, *options, "iterations=0")
    kept = cut / "preparation/clusters/embeddings/001.npz"
    before = kept.stat().st_mtime_ns
    for name in (
        "columns.npz",
        "metrics.json",
        "embeddings/002.npz",
        "../pilots/columns.npz",
        "../pilots/solved/001.npz",
    ):
        (cut / "preparation/clusters" / name).unlink()
    run(cut, llama, *options)
    assert kept.stat().st_mtime_ns == before
    assert {k: v for k, v in contents(cut).items() if k != "config.yaml"} == {
        k: v for k, v in contents(whole).items() if k != "config.yaml"
    }


def test_a_damaged_file_is_named(tmp_path: Path, llama: Pretrained) -> None:
    run(tmp_path, llama, "iterations=1")
    path = tmp_path / "preparation/clusters/columns.npz"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(
        RunError, match=r"clusters/columns\.npz is damaged: its bytes .* Restore it, or move .*clusters away"
    ):
        run(tmp_path, llama, "iterations=2")


def test_more_clusters_than_observations(tmp_path: Path, llama: Pretrained) -> None:
    with pytest.raises(ValueError, match="k=13 clusters of 12 observations: lower k"):
        run(tmp_path, llama, "preparation.clusters.k=13")


def test_cures_begins_with_the_counts_of_the_pilots(tmp_path: Path) -> None:
    """Level 1 is always solved and level 3 never, so level 2 is asked first."""
    play(tmp_path, "experiment=cures_counts", "preparation=pilots", "preparation.pilots.rollouts=8", "sampler.tau=0.01",
         "model=scripted", "generator=scripted", "trainer=scripted", "generator.table=[1.0,0.5,0.0]", "task.n=60",
         "schedule.wave=8", "iterations=1")  # fmt: skip
    run = RunDirectory(tmp_path)
    beliefs = run.iteration(0).beliefs()
    assert (beliefs["alpha"][::3] == 9).all()
    assert (beliefs["beta"][2::3] == 9).all()
    assert (beliefs["alpha"] + beliefs["beta"] == 10).all()
    assert {r.position % 3 for r in run.iteration(1).rollouts()[:8]} == {1}


# -------------------------------------------------------------------------------------------- Skill-It's graph


class Skilled(Quiz):
    """Levels are skills."""

    named: bool = True

    def _some(self, split: str, n: int) -> list[Observation]:
        return [replace(o, skill=f"s{o.level}" if self.named else None) for o in super()._some(split, n)]


GRAPH = ("experiment=skill_it", "preparation=skill_graph", "model=scripted", "generator=scripted", "trainer=scripted",
         "task._target_=tests.preparations.test_preparations.Skilled", "task.n=120", "sampler.mixture.graph=learned",
         "sampler.mixture.floor=0", "preparation.skill_graph.loss=error", "generator.table=[1.0,0.4,0.0]")  # fmt: skip


def naive_strengths(losses: dict, of: list[int], k: int) -> list[list[float]]:
    """Algorithms 2 and 3, by hand: relative falls of mean losses, where positive."""

    def mean(skills: tuple[int, ...], j: int) -> float:
        return float(np.mean([x for x, skill in zip(losses[skills], of, strict=True) if skill == j]))

    graph = [[0.0] * k for _ in range(k)]
    for i, j in product(range(k), repeat=2):
        pair = tuple(sorted((i, j)))
        better, worse = (pair, (j,)) if i != j and pair in losses else ((i,), ())
        graph[i][j] = max(mean(worse, j) - mean(better, j), 0) / mean((), j)
    return graph


@given(st.integers(0, 2**20), st.booleans())
def test_strengths_are_the_papers_algorithms(seed: int, pairs: bool) -> None:
    of = [0, 0, 1, 1, 1, 2]
    rounds = [(), (0,), (1,), (2,), *([(0, 1), (0, 2), (1, 2)] if pairs else [])]
    losses = {skills: rng(seed, *skills).uniform(0.1, 2, len(of)) for skills in rounds}
    found = strengths(losses, np.array(of), 3, 0.0)
    assert found == pytest.approx(np.array(naive_strengths(losses, of, 3)))


def test_a_fall_within_its_standard_error_is_none_and_what_cannot_be_told_helps_itself() -> None:
    of, nan = np.array([0, 0, 0, 0, 1]), float("nan")
    losses = {(): np.array([1.0, 1, 1, 1, 1]), (0,): np.array([0.9, 0.9, 0.9, 0.9, 0.1])}
    assert strengths(losses, of, 3, 1.0).tolist() == [pytest.approx([0.1, 0, 0]), [0, 1, 0], [0, 0, 1]]
    losses[0,] = np.array([0.1, 1.6, 1.0, 0.8, nan])  # a fall of 0.125 with a standard error of 0.31
    assert strengths(losses, of, 2, 1.0).tolist() == [[0, 0], [0, 1]]


def test_a_graph_is_learned_and_used(tmp_path: Path) -> None:
    """Training raises what is solved at times, s2; the base never solves s3, and s1 always."""
    play(tmp_path, *GRAPH, "trainer.rate=1")
    found = RunDirectory(tmp_path)
    with np.load(tmp_path / "preparation/skill_graph/columns.npz") as columns:
        graph = columns["skill_graph"]
    assert graph[2].tolist() == [0, 0, 1]
    assert (graph[:2, 1] > 0.3).all()
    assert not graph[:2, [0, 2]].any()
    beliefs = found.iteration(0).beliefs()
    assert beliefs["mixture/graph"] == pytest.approx(graph / graph.max())
    figures = found.iteration(1).metrics()
    p = np.exp(0.5 * (graph / graph.max()).sum(1))
    assert [figures[f"sampler/wanted/s{k}"] for k in (1, 2, 3)] == pytest.approx(p / p.sum())
    assert found.iteration(0).metrics()["prepare/skill_graph/edges"] == 1


def test_a_graph_without_edges_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    play(tmp_path, *GRAPH, "trainer.rate=0", "generator.table=[1.0,0.4,0.4]", "iterations=0")
    assert "no round moved a loss by more than noise" in caplog.text
    assert not RunDirectory(tmp_path).iteration(0).beliefs()["mixture/graph"].any()


def test_an_interrupted_graph_trains_no_skill_twice(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for directory in (whole, cut):
        play(directory, *GRAPH, "iterations=0")
    folder = cut / "preparation/skill_graph"
    for name in ("columns.npz", "metrics.json", "losses/001.npz"):
        (folder / name).unlink()
    before = (folder / "adapters/skill_1").stat().st_mtime_ns
    play(cut, *GRAPH, "iterations=0")
    assert (folder / "adapters/skill_1").stat().st_mtime_ns == before
    assert contents(cut) == contents(whole)


def test_a_graph_needs_skills_and_a_preparation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="graph=learned, but none was: add preparation=skill_graph"):
        play(tmp_path / "none", *(option for option in GRAPH if not option.startswith("preparation")))
    with pytest.raises(ValueError, match=r"the graph knows no group 'level_1', only .*: take the sampler.by"):
        play(tmp_path / "levels", *GRAPH, "sampler.by=[level]")
    with pytest.raises(ValueError, match=r"the task names no skills, .*: give task\.skill"):
        play(tmp_path / "unnamed", *GRAPH, "task.named=false")
    with pytest.raises(ValueError, match="no validation observation has skill 's3': add some"):
        play(tmp_path / "few", *GRAPH, "task.n=4")
    with pytest.raises(ValueError, match=r"validation observations have no length: take cross_entropy"):
        play(tmp_path / "length", *GRAPH, "preparation.skill_graph.by=[length]", "iterations=0")


def test_all_pairs_are_tried_and_what_helps_beside_practice_is_an_edge(tmp_path: Path) -> None:
    """The scripted trainer learns from the number of examples alone, so a pair of skills always helps a little more."""
    play(tmp_path, *GRAPH, "trainer.rate=1", "generator.table=[0.4,0.4,0.0]", "preparation.skill_graph.method=brute_force",
         "preparation.skill_graph.noise=0", "task.n=400", "iterations=0")  # fmt: skip
    folder = tmp_path / "preparation/skill_graph"
    assert sorted(p.stem for p in (folder / "losses").glob("*.npz")) == ["000", "000_001", "001", "base"]
    losses = {tuple(map(int, p.stem.split("_"))) if p.stem != "base" else (): np.load(p)["losses"]
              for p in (folder / "losses").glob("*.npz")}  # fmt: skip
    with np.load(folder / "columns.npz") as columns:
        graph, names = columns["skill_graph"], columns["graph_names"].tolist()
    assert names == ["s1", "s2", "s3"]
    of = np.arange(200) % 3
    assert graph[2].tolist() == [0, 0, 1]
    assert graph[:2, :2] == pytest.approx(
        np.array(naive_strengths(losses | {(2,): losses[()]}, of.tolist(), 3))[:2, :2]
    )
    assert graph[0, 1] > 0
    figures = RunDirectory(tmp_path).iteration(0).metrics()
    assert figures["prepare/skill_graph/rounds"] == 3
    assert figures["prepare/skill_graph/rollouts"] == 3 * 64 * 4
    trained = [json.loads(p.read_text())["tokens"] for p in folder.glob("adapters/*/training.json")]
    assert len(trained) == 3
    asked = 3 * 64 * (16 + 4 * 16) + 4 * 200 * 32
    assert figures["prepare/skill_graph/tokens"] == asked + sum(trained)
    assert figures["flops/prepare"] == figures["flops/cumulative"] == 1_000_000 * (2 * asked + 6 * sum(trained))


@pytest.mark.engine
def test_a_graph_of_clusters_by_cross_entropy(tmp_path: Path, llama: Pretrained) -> None:
    """A real round on each cluster, measured by real cross-entropies of held-out rationales."""
    from star_loop.scorers.student import Student

    write_golds(Quiz(n=48), Quiz(n=48).train(), tmp_path / "pool.jsonl")
    play(tmp_path / "run", *CLUSTERED, f"model.name_or_path={llama.name_or_path}", "experiment=skill_it",
         "generator=pool", f"generator.path={tmp_path}/pool.jsonl", "trainer=lora", "trainer.learning_rate=1e-2",
         "trainer.threads=1", "preparation=[clusters,skill_graph]", "preparation.skill_graph.by=[cluster]", "task.n=48",
         "preparation.skill_graph.steps=2", "preparation.skill_graph.rollouts=1", "preparation.skill_graph.held_out=4",
         "sampler.mixture.graph=learned", "sampler.mixture.loss=train", "iterations=0")  # fmt: skip
    folder = tmp_path / "run/preparation/skill_graph"
    with np.load(folder / "columns.npz") as columns:
        graph, names = columns["skill_graph"], columns["graph_names"].tolist()
    assert names == ["cluster_0", "cluster_1", "cluster_2"]
    held = [
        [Rollout.from_json(line) for line in np.load(p)["held"].tolist()] for p in sorted(folder.glob("rationales/*"))
    ]
    everything = [r for part in held for r in part]
    prompts = [f"Q: What is {r.position} in train?\nA: " for r in everything]
    losses = {}
    for skills, adapter in [((), None), *(((k,), folder / f"adapters/skill_{k}") for k in range(3))]:
        losses[skills] = np.array(
            [s.loss for s in Student().score(everything, prompts, Model(base=llama, adapter=adapter))]
        )
    assert graph == pytest.approx(strengths(losses, np.repeat(range(3), list(map(len, held))), 3, 1.0), rel=1e-3)
    assert (graph > 0).all()
    figures = RunDirectory(tmp_path / "run").iteration(0).metrics()
    assert figures["flops_exact/cumulative"] == figures["flops_exact/prepare"] > 0
    assert figures["prepare/clusters/flops_exact"] > 0


# ------------------------------------------------------------------------------------------------- from a file


def test_a_graph_from_a_file_is_kept_in_the_run(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    path.write_text('{"s1": {"s1": 1, "s2": 2}, "s2": {"s2": 4, "s1": -3}, "s3": {}, "s9": {"s3": 1}}')
    options = (*(o for o in GRAPH if not o.startswith("preparation")), "preparation=graph_file",
               f"preparation.graph_file.path={path}")  # fmt: skip
    play(tmp_path / "run", *options, "iterations=1")
    graph = RunDirectory(tmp_path / "run").iteration(0).beliefs()["mixture/graph"]
    assert graph.tolist() == [[0.25, 0.5, 0], [0, 1, 0], [0, 0, 0]]
    path.write_text('{"s1": {"s1": 1}}')
    play(tmp_path / "run", *options, "iterations=2")
    for text, wrong in (
        ('{"s1": {"s2": "much"}}', ": the edge 's1' → 's2' is \"much\", expected a finite number"),
        ('{"s1": {"s2": NaN}}', ": the edge 's1' → 's2' is NaN, expected"),
        (f'{{"s1": {{"s2": {10**400}}}}}', ": the edge 's1' → 's2' is "),
        ('{"s1": 3}', ": 's1' has 3, expected an object"),
        ("{}", " names no group"),
        ('{"nosuch": {"other": 1}}', r" has no group 's1', only \['nosuch', 'other'\]: name each group of sampler\.by"),
        ('{"s1": {"s2": 1}}', r" has no group 's3', only \['s1', 's2'\]"),
        ("[1, 2]", r" has \[1, 2\], expected an object, {from: {to: strength}}"),
        ("{", " is no JSON: "),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=rf"^preparation\.graph_file\.path={path}{wrong}"):
            play(tmp_path / "bad", *options)
    assert not (tmp_path / "bad/config.yaml").exists()
    path.unlink()
    with pytest.raises(ValueError, match=r"graph_file\.path=.*: there is no such file"):
        play(tmp_path / "bad", *options)


# ------------------------------------------------------------------------------------------------------- a fork

PILOTED = (
    "experiment=cures_counts", "preparation=pilots", "model=scripted", "generator=scripted", "trainer=scripted",
)  # fmt: skip


def test_a_fork_takes_over_what_was_prepared_and_pays_for_what_it_prepares_itself(tmp_path: Path) -> None:
    play(tmp_path / "run", *PILOTED, "iterations=2")
    source = f"fork={tmp_path}/run/iterations/0001"
    play(tmp_path / "same", *PILOTED, source, "generator.temperature=0.5", "iterations=2")
    play(tmp_path / "other", *PILOTED, source, "preparation.pilots.rollouts=2", "iterations=3")
    files = {name: contents(tmp_path / name / "preparation") for name in ("run", "same", "other")}
    assert files["same"] == {**files["run"], "pilots/inherited": b""}
    assert files["other"] != files["run"]
    figures = {name: RunDirectory(tmp_path / name).iteration(2).metrics() for name in ("run", "same", "other")}
    assert "flops/prepare" not in figures["same"]
    assert figures["other"]["prepare/pilots/tokens"] == 12 * (16 + 2 * 16)
    spent = sum(figures["other"][f"flops/{what}"] for what in ("generate", "train", "prepare"))
    assert figures["other"]["flops/cumulative"] == (
        RunDirectory(tmp_path / "run").iteration(1).metrics()["flops/cumulative"] + spent
    )
    assert "flops/prepare" not in RunDirectory(tmp_path / "other").iteration(3).metrics()


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_preparation_is_named_also_when_it_is_forked(tmp_path: Path, damage: str) -> None:
    play(tmp_path / "run", *PILOTED, "iterations=1")
    for name in ("columns.npz", "metrics.json"):
        path = tmp_path / "run/preparation/pilots" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] if damage == "truncated" else bytes([whole[0] ^ 1]) + whole[1:])
        with pytest.raises(RunError, match=rf"preparation/pilots/{name} is damaged"):
            play(tmp_path / name, *PILOTED, f"fork={tmp_path}/run/iterations/0001", "iterations=2")
        with pytest.raises(RunError, match=rf"preparation/pilots/{name} is damaged"):
            play(tmp_path / "run", *PILOTED, "iterations=2")
        path.write_bytes(whole)
