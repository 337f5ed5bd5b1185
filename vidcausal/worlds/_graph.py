"""A layered drawing of a directed graph without cycles: who is left of whom, and in which row.

Sugiyama's steps, small: a layer is the longest path from a source (pulled toward the children), edges that skip layers
go through bends, and rows are swapped by the mean row of the neighbors until few edges cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Node = str
Edge = tuple[str, str]
_SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """Where everything goes.

    ``places`` gives each node its layer (0 is leftmost) and its row; rows are counted from the middle, so they may be
    halves and negative. ``routes`` gives each edge the places that it goes through, its ends included.
    """

    places: dict[Node, tuple[int, float]]
    routes: dict[Edge, list[tuple[int, float]]]
    num_layers: int
    num_rows: int


def layout(nodes: Sequence[Node], edges: Sequence[Edge]) -> Layout:
    """The drawing of a graph whose ``nodes`` stand with parents first."""
    depth = _depths(nodes, edges)
    columns: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in nodes:
        columns[depth[node]].append(node)
    chains = {edge: _chain(edge, depth, columns) for edge in edges}
    links = [pair for chain in chains.values() for pair in zip(chain, chain[1:], strict=False)]
    _untangle(columns, links)
    places = {
        node: (layer, row - (len(column) - 1) / 2)
        for layer, column in enumerate(columns)
        for row, node in enumerate(column)
    }
    return Layout(
        places={node: places[node] for node in nodes},
        routes={edge: [places[node] for node in chain] for edge, chain in chains.items()},
        num_layers=len(columns),
        num_rows=max(map(len, columns), default=0),
    )


def _depths(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[Node, int]:
    depth = dict.fromkeys(nodes, 0)
    parents: dict[Node, list[Node]] = {node: [] for node in nodes}
    children: dict[Node, list[Node]] = {node: [] for node in nodes}
    for parent, child in edges:
        parents[child].append(parent)
        children[parent].append(child)
    for node in nodes:
        depth[node] = max((depth[parent] + 1 for parent in parents[node]), default=0)
    for node in reversed(nodes):
        # A source stands right before its first child, however deep that is.
        if children[node] and not parents[node]:
            depth[node] = min(depth[child] for child in children[node]) - 1
    return depth


def _chain(edge: Edge, depth: dict[Node, int], columns: list[list[Node]]) -> list[Node]:
    """The ends of an edge with a bend in every layer between them."""
    parent, child = edge
    between = [f"{parent}\n{child}\n{layer}" for layer in range(depth[parent] + 1, depth[child])]
    for layer, name in enumerate(between, start=depth[parent] + 1):
        columns[layer].append(name)
    return [parent, *between, child]


def _untangle(columns: list[list[Node]], links: Sequence[Edge]) -> None:
    before: dict[Node, list[Node]] = {}
    after: dict[Node, list[Node]] = {}
    for left, right in links:
        before.setdefault(right, []).append(left)
        after.setdefault(left, []).append(right)
    best, fewest = [list(column) for column in columns], _crossings(columns, links)
    for sweep in range(_SWEEPS):
        ahead = sweep % 2 == 0
        order = range(1, len(columns)) if ahead else range(len(columns) - 2, -1, -1)
        for layer in order:
            fixed = columns[layer - 1 if ahead else layer + 1]
            row = {node: k - (len(fixed) - 1) / 2 for k, node in enumerate(fixed)}
            _sort(columns[layer], before if ahead else after, row)
        if (count := _crossings(columns, links)) < fewest:
            best, fewest = [list(column) for column in columns], count
    columns[:] = best


def _sort(column: list[Node], neighbors: dict[Node, list[Node]], row: dict[Node, float]) -> None:
    middle = (len(column) - 1) / 2
    own = {node: k - middle for k, node in enumerate(column)}
    mean = {
        node: sum(row[n] for n in neighbors[node]) / len(neighbors[node]) if neighbors.get(node) else own[node]
        for node in column
    }
    column.sort(key=lambda node: mean[node])


def _crossings(columns: Sequence[Sequence[Node]], links: Sequence[Edge]) -> int:
    layer = {node: k for k, column in enumerate(columns) for node in column}
    row = {node: k for column in columns for k, node in enumerate(column)}
    count = 0
    for k, (a, b) in enumerate(links):
        for c, d in links[k + 1 :]:
            if layer[a] == layer[c] and (row[a] - row[c]) * (row[b] - row[d]) < 0:
                count += 1
    return count
