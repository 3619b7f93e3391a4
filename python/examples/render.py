"""Runs a script in cells (`# %%`), one after the other as a notebook would, and writes it with what its cells print as a page of Markdown.

    python python/examples/render.py SCRIPT PAGE
"""

import ast
import contextlib
import io
import sys
from pathlib import Path


def cells(text):
    """Each cell: whether it is Markdown, and its lines."""
    found = []
    for line in text.splitlines():
        if line.startswith("# %%"):
            found.append(("[markdown]" in line, []))
        elif found:
            found[-1][1].append(line)
    return [(is_text, "\n".join(lines).strip("\n")) for is_text, lines in found]


def run(code, names, name):
    """Runs a cell. Returns what it printed, and the value of its last line where that is an expression."""
    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, name, "exec"), names)
        value = None if last is None else eval(compile(ast.Expression(last.value), name, "eval"), names)
        if value is not None:
            print(repr(value))
    return printed.getvalue()


def page(script):
    names = {"__name__": "__main__"}
    parts = []
    for is_text, content in cells(script.read_text("utf-8")):
        if is_text:
            parts.append("\n".join(line.removeprefix("#").removeprefix(" ") for line in content.splitlines()))
            continue
        output = run(content, names, str(script))
        parts.append(f"```python\n{content}\n```")
        if output:
            parts.append(f"```text\n{output.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page(Path(sys.argv[1])), "utf-8")
