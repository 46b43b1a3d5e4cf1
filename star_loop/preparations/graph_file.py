"""Skill-It's graph from a file, copied into the run so that what it rests on stays as it was."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from star_loop.preparations import Bench, Preparation, Prepared
from star_loop.protocols import Sampler
from star_loop.records import Columns
from star_loop.samplers.grouped import Grouped, label

_MOST = sys.float_info.max
_WIDE = 80
"""Characters of what is wrong that are shown."""


class GraphFile(Preparation):
    """The table `skill_graph`, for `sampler.mixture.graph=learned`, from JSON: `{from: {to: strength}}`.

    The names are those of the groups. What is not named is 0, and what is negative counts as 0.
    """

    path: Path | None = None
    """JSON: `{from: {to: strength}}`."""

    def check(self) -> None:
        """The file must hold a graph.

        Raises:
            ValueError: it does not; names the file and the edge.
        """
        self._edges()

    def prove(self, columns: Columns, sampler: Sampler) -> None:
        """Look for the sampler's groups in the graph, where it takes one and no other preparation makes the groups.

        Raises:
            ValueError: the graph lacks one; names it and the file.
        """
        learned = isinstance(sampler, Grouped) and getattr(sampler.mixture, "graph", None) == "learned"
        if not isinstance(sampler, Grouped) or not learned or not {*sampler.by} <= {*columns}:
            return
        known = self._names(self._edges())
        if missing := [name for name in label(columns, sampler.by)[1] if name not in {*known, *sampler.without}]:
            raise ValueError(
                f"preparation.graph_file.path={self.path} has no group {missing[0]!r}, only {known}: name each group "
                f"of sampler.by=[{','.join(sampler.by)}]"
            )

    def prepare(self, columns: Columns, bench: Bench) -> Prepared:
        """Return the graph (groups, groups) of all groups that the file names."""
        edges = self._edges()
        names = self._names(edges)
        graph = np.array([[edges.get(i, {}).get(j, 0.0) for j in names] for i in names])
        count = np.count_nonzero(graph) - np.count_nonzero(np.diag(graph))
        return Prepared(
            columns={"skill_graph": graph, "graph_names": np.array(names, np.str_)},
            metrics={"edges": float(count)}, spent=np.zeros(3),
        )  # fmt: skip

    def _names(self, edges: dict[str, dict[str, float]]) -> list[str]:
        return sorted({*edges, *(to for row in edges.values() for to in row)})

    def _edges(self) -> dict[str, dict[str, float]]:
        file = f"preparation.graph_file.path={self.path}"
        if self.path is None or not self.path.is_file():
            raise ValueError(f"{file}: there is no such file")
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(f"{file} has {_short(found)}, expected an object, {{from: {{to: strength}}}}")
        for name, row in found.items():
            if not isinstance(row, dict):
                raise ValueError(f"{file}: {name!r} has {_short(row)}, expected an object of strengths by group")
            for to, strength in row.items():
                if isinstance(strength, bool) or not isinstance(strength, int | float) or not abs(strength) <= _MOST:
                    raise ValueError(
                        f"{file}: the edge {name!r} → {to!r} is {_short(strength)}, expected a finite number"
                    )
        if not found:
            raise ValueError(f"{file} names no group")
        return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDE else f"{text[:_WIDE]}…"
