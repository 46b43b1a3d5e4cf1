"""SPaCe's first phase: clusters of observations by semantics and difficulty (arXiv 2508.05015).

A reconstruction, as no official code is public: the abstract and public reviews of the first version (SPaRFT) give
embedding → PCA → the difficulty appended → k-means → farthest points of each cluster; scales and sizes are ours.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import closing

import numpy as np
from pydantic import Field

from star_loop.preparations import Bench, Preparation, Prepared, total
from star_loop.preparations.clustering import (
    Floats,
    Labels,
    farthest_points,
    kmeans,
    nearest,
    principal_components,
    standardised,
)
from star_loop.preparations.embeddings import Embedder, SentenceEmbedder
from star_loop.records import Columns, Metrics
from star_loop.run.preparation import Arrays
from star_loop.seeding import rng


class Clusters(Preparation):
    """The column `cluster`, for `sampler.by=[cluster]`; -1: not in the core-set.

    An observation is [e/√d ; difficulty_weight · h]: d standardised principal components e of its question's embedding,
    and its standardised difficulty h: 1 - solve rate of the base model where `pilots` come before,
    otherwise the task's `level`.
    """

    k: int = Field(10, ge=1)
    """Clusters."""
    embedder: str | None = None
    """A sentence-transformers model, by name or folder, such as the paper's Qwen/Qwen3-Embedding-0.6B; None: the last
    hidden states of the base model, averaged."""
    dimensions: int = Field(32, ge=1)
    """d, principal components that are kept."""
    difficulty_weight: float = Field(1.0, ge=0)
    """What difficulty weighs beside the embedding."""
    core: int | None = Field(None, ge=1)
    """Observations of each cluster that are kept, the farthest apart from the nearest to the centre on; None: all."""

    @property
    def needs_base(self) -> bool:
        """Tell that it embeds with the base, where no other model is named."""
        return self.embedder is None

    def check(self) -> None:
        """Check that sentence-transformers is installed where it is wanted.

        Raises:
            ValueError: it is not.
        """
        if self.embedder is not None and importlib.util.find_spec("sentence_transformers") is None:
            raise ValueError(
                f"preparation.clusters.embedder={self.embedder}, but sentence-transformers is not installed. Get it "
                'with: pip install "star_loop[sentence]", or leave the key out to embed by the base model.'
            )

    def prepare(self, columns: Columns, bench: Bench) -> Prepared:
        """Return `cluster` (n,).

        Raises:
            ValueError: there are fewer observations than clusters.
        """
        n = len(bench.observations)
        if n < self.k:
            raise ValueError(f"preparation: k={self.k} clusters of {n} observations: lower k")
        embedded = list(self._embed(bench))
        x = self.features(
            np.concatenate([part["embeddings"] for part in embedded]).astype(np.float64), _difficulty(columns)
        )
        labels, centres = kmeans(x, self.k, rng(bench.seed, "clusters"))
        cluster = labels if self.core is None else core_set(x, labels, centres, self.core)
        return Prepared(columns={"cluster": cluster}, metrics=_figures(x, cluster, centres), spent=total(embedded))

    def features(self, embeddings: Floats, difficulty: Floats) -> Floats:
        """(n, d + 1)"""
        e = standardised(principal_components(embeddings, self.dimensions))
        h = standardised(difficulty[:, None])
        return np.hstack([e / np.sqrt(e.shape[1]), self.difficulty_weight * h])

    def _embed(self, bench: Bench) -> Iterator[Arrays]:
        """`embeddings` of each observation's question, and what that has `spent`, a file for each chunk."""
        embedder = Embedder(bench.base) if self.embedder is None else SentenceEmbedder(self.embedder)
        bench.release()
        with closing(embedder):
            for number, positions in enumerate(bench.chunks()):

                def compute(positions: range = positions) -> Arrays:
                    embeddings, lengths = embedder([bench.observations[p].question for p in positions])
                    return {"embeddings": embeddings, "spent": embedder.cost().reading(lengths)}

                yield bench.folder.arrays(f"embeddings/{number:03d}", compute)


def _difficulty(columns: Columns) -> Floats:
    if "pilot_wins" not in columns:
        return np.asarray(columns["level"], np.float64)
    rate: Floats = np.asarray(columns["pilot_wins"], np.float64) / np.asarray(columns["pilot_attempts"], np.float64)
    return 1 - rate


def core_set(x: Floats, labels: Labels, centres: Floats, m: int) -> Labels:
    """Return the labels of m observations of each cluster, the farthest apart, and -1 for all others."""
    kept = np.full(len(x), -1, np.int32)
    distances = nearest(x, centres)[1]
    for cluster in np.unique(labels).tolist():
        inside = np.flatnonzero(labels == cluster)
        start = int(distances[inside].argmin())
        kept[inside[farthest_points(x[inside], start, m)]] = cluster
    return kept


def _figures(x: Floats, cluster: Labels, centres: Floats) -> Metrics:
    sizes = np.bincount(cluster[cluster >= 0])
    within, total = nearest(x, centres)[1].sum(), ((x - x.mean(axis=0)) ** 2).sum()
    return {
        "clusters": float(np.count_nonzero(sizes)),
        "smallest": float(sizes[sizes > 0].min()),
        "largest": float(sizes.max()),
        "kept": float(sizes.sum()),
        "explained": float(1 - within / total) if total > 0 else 0.0,
    }
