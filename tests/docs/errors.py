"""Every error text that the product can print as a line of its own, taken from the code that raises it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Where lines for a user come from. Refusals over HTTP and gRPC travel to other programs and are not among them.
SOURCES = (
    "tradewind/cli.py",
    "tradewind/operate",
    "tradewind/up",
    "tradewind/common/process.py",
    "tradewind/common/settings.py",
    "tradewind/common/tokens.py",
    "edge/settings.py",
    "edge/main.py",
    "edge/mesh/identity.py",
    "edge/dataplane/__init__.py",
    "control/settings.py",
    "control/main.py",
    "control/fleet/authority.py",
    "bench/registry.py",
    "bench/browser.py",
    "bench/generator_process.py",
    "bench/wan/settings.py",
    "bench/wan/model.py",
)
# These go to other programs, or are caught on their way.
NOT_PRINTED = {"TokenRefused", "SignallingRefused", "Problem", "AssertionError", "Exit", "GeneratorFailed"}
ENDINGS = ("Error", "Invalid", "Refused", "Missing", "Taken", "InUse", "Scenario")
# Shorter pieces are punctuation between values.
SHORTEST = 8


def error_texts() -> Iterator[tuple[str, str]]:
    """(place, the longest literal piece of the text) of every error that is made in `SOURCES`."""
    for source in SOURCES:
        path = ROOT / source
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _is_error(node):
                    pieces = [piece for argument in node.args for piece in _pieces(argument)]
                    longest = max(pieces, key=len, default="")
                    if len(longest) >= SHORTEST:
                        yield f"{file.relative_to(ROOT)}:{node.lineno}", longest


def _is_error(node: ast.Call) -> bool:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    return name not in NOT_PRINTED and name.endswith(ENDINGS)


def _pieces(node: ast.AST) -> Iterator[str]:
    """Literal text between the values that are put in; what stands inside a value does not count."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield " ".join(node.value.split())
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.Constant):
                yield from _pieces(part)
    elif isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from _pieces(element)
    elif isinstance(node, ast.ListComp):
        yield from _pieces(node.elt)
    elif isinstance(node, ast.BinOp):
        yield from _pieces(node.left)
        yield from _pieces(node.right)
    elif isinstance(node, ast.IfExp):
        yield from _pieces(node.body)
        yield from _pieces(node.orelse)
