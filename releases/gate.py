"""Gates of an environment: `metrics.accuracy >= live - 0.01`, over the numbers in the models' manifests.

One comparison of sums and products of numbers, `metrics.NAME` (the model that is promoted), `live.NAME` (the
model that is live there) and `live` (the live model's value of the one metric that the gate names).
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LONGEST = 200
COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}
ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


@dataclass(frozen=True)
class Finding:
    """What came of a gate. `said` is for people: the numbers that were compared."""

    gate: str
    holds: bool
    said: str


class UnknownMetricError(ValueError):
    """A metric that a manifest does not have."""


def well_formed(gate: str) -> str:
    """The gate itself. Raises ValueError that says what is wrong with it."""
    tree = _parse(gate)
    nothing = dict.fromkeys(_names(tree), 0.0)
    _compare(tree, nothing, nothing)
    return gate


def judge(gate: str, metrics: Mapping[str, float], live: Mapping[str, float] | None) -> Finding:
    """Whether the gate lets the model through. `live` None: nothing is live, so nothing to compare with."""
    tree = _parse(gate)
    if live is None and any(isinstance(node, ast.Name) and node.id == "live" for node in ast.walk(tree)):
        return Finding(gate, holds=True, said="nothing is live to compare with")
    try:
        holds, left, right = _compare(tree, metrics, live or {})
    except UnknownMetricError as unknown:
        return Finding(gate, holds=False, said=str(unknown))
    return Finding(gate, holds=holds, said=f"{left:g} against {right:g}")


def _parse(gate: str) -> ast.Compare:
    if len(gate) > LONGEST:
        raise ValueError(f"a gate has at most {LONGEST} characters")
    try:
        tree = ast.parse(gate.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or type(tree.ops[0]) not in COMPARISONS:
        raise ValueError("a gate is one comparison, for example `metrics.accuracy >= live - 0.01`")
    return tree


def _compare(
    tree: ast.Compare, metrics: Mapping[str, float], live: Mapping[str, float]
) -> tuple[bool, float, float]:
    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return float(number)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in ARITHMETIC:
                return ARITHMETIC[type(sign)](value(left), value(right))
            case ast.Attribute(value=ast.Name(id="metrics"), attr=name):
                return _metric(metrics, name, "the model that is to be released")
            case ast.Attribute(value=ast.Name(id="live"), attr=name):
                return _metric(live, name, "the model that is live")
            case ast.Name(id="live"):
                return _metric(live, _only_name(tree), "the model that is live")
        raise ValueError(
            f"`{ast.unparse(node)}` is no part of a gate: numbers, metrics.NAME, live, live.NAME, + - *"
        )

    left, right = value(tree.left), value(tree.comparators[0])
    return COMPARISONS[type(tree.ops[0])](left, right), left, right


def _metric(metrics: Mapping[str, float], name: str, whose: str) -> float:
    if name not in metrics:
        known = ", ".join(sorted(metrics)) or "none"
        raise UnknownMetricError(f"the manifest of {whose} has no metric `{name}`; it has: {known}")
    return float(metrics[name])


def _names(tree: ast.Compare) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def _only_name(tree: ast.Compare) -> str:
    names = _names(tree)
    if len(names) != 1:
        raise ValueError("`live` alone means the one metric that the gate names; write live.NAME")
    return names.pop()
