"""Engines on a real Ray cluster: two nodes, which are two raylets on this machine."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from star_loop.generators.ray_actors import Ray
from star_loop.models import Model, Pretrained
from star_loop.protocols import EngineError
from tests.quiz import contents
from tests.test_end_to_end import finish, living, start

pytest.importorskip("ray")

pytestmark = pytest.mark.engine

SHARES = ("generator.share=4",)
TWO_NODES = ("generator=ray", "generator.engines=2", *SHARES)


@pytest.fixture
def cluster() -> Iterator[tuple[Any, Any]]:
    """A cluster of two nodes, and the second of them."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    nodes = Cluster(initialize_head=True, head_node_args=size)
    try:
        yield nodes, nodes.add_node(**size)
    finally:
        nodes.shutdown()


def test_an_engine_for_which_no_node_has_room_says_what_is_missing(tmp_path: Path) -> None:
    base, handler = Pretrained(name_or_path="tiny"), signal.getsignal(signal.SIGTERM)
    others = folders_of_clusters()
    with (
        Ray(num_cpus=1000, num_gpus=3, wait=0.5).engine(base, workspace=tmp_path, seed=0) as engine,
        pytest.raises(EngineError, match=r"(?s)no node had room.*1000 CPU, 3 GPU.*generator\.wait.*The cluster has"),
    ):
        engine.serve(Model(base=base))
    assert signal.getsignal(signal.SIGTERM) is handler
    assert living(tmp_path) == []
    assert folders_of_clusters() <= others


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(EngineError, match=r"generator\.address=127\.0\.0\.1:1: no Ray cluster answers there"),
        Ray(address="127.0.0.1:1").engine(Pretrained(name_or_path="tiny"), workspace=tmp_path, seed=0),
    ):
        pass


@pytest.mark.reliability
def test_two_nodes_write_what_one_process_writes_and_one_of_them_may_go(
    tmp_path: Path, cluster: tuple[Any, Any]
) -> None:
    """The embedded task, end to end; a node is killed when the first waves begin."""
    alone, two, fewer = (tmp_path / name for name in ("alone", "two", "fewer"))
    for directory in (alone, two, fewer):
        directory.mkdir()
    finish(alone, *SHARES)
    nodes, second = cluster
    address = f"generator.address={nodes.address}"
    finish(two, *TWO_NODES, address)

    process = start(fewer, *TWO_NODES, address, "generator.wait=60")
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "iteration=1 name=collect" in line:
            nodes.remove_node(second, allow_graceful=False)
    assert process.wait() == 0, said

    expected = made_by(alone)
    assert len(expected) > 20
    assert made_by(two) == expected
    assert made_by(fewer) == expected
    log = "".join(path.read_text() for path in (fewer / "run/attempts").rglob("*.log"))
    assert "an actor was lost while it was to" in log
    for directory in (two, fewer):
        assert not [path for path in (directory / "run/.engine").rglob("*") if path.is_file()]
        assert living(directory) == []


def folders_of_clusters() -> set[Path]:
    """Where clusters of any launch on this machine, killed ones included, keep their sockets."""
    return set(Path(tempfile.gettempdir()).glob("star_loop-ray-*"))


def made_by(directory: Path) -> dict[str, bytes]:
    """All that a run promises but what says which generator was asked: the configuration, and fingerprints of it."""
    named = ("config.yaml", "identity.json", "state.json")
    return {name: content for name, content in contents(directory / "run").items() if Path(name).name not in named}
