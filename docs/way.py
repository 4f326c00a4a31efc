"""The way of one clip, from train.py to the first filter's gradient and back into a checkpoint: python -m docs.way

A tiny run is watched by sys.setprofile on one thread. Two stacks are kept: the one in which the gradient of the
encoder's first filters is computed, and the one in which the first state of training is written. They are shown in
docs/architecture.md, between the marks.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from nn1d.command import Parser

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
MARKS = "<!-- way -->", "<!-- /way -->"
OPTIONS = (
    "--limit", "6", "--channels", "4,4", "--epochs", "1", "--fine-tune-epochs", "1", "--clip-samples", "400",
    "--threads", "1", "--device", "cpu", "--no-report",
)  # fmt: skip
WATCH = """
import json, runpy, sys
from pathlib import Path

root, stacks_file, *sys.argv[1:] = sys.argv[1:]
sys.path.insert(0, root)
sys.argv[0] = str(Path(root) / "train.py")
stacks = {}

def stack(frame):
    names = []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_absolute() and path.is_relative_to(root):
            names.append(f"{path.relative_to(root).as_posix()} {frame.f_code.co_qualname}")
        frame = frame.f_back
    return names[::-1]

def of_first_filters(frame):
    while frame is not None:
        layer = frame.f_locals.get("self") if frame.f_code.co_name == "backward" else None
        if type(layer).__name__ == "Conv1d" and layer.in_channels == 1 and layer.kernel_size > 1:
            return True
        frame = frame.f_back
    return False

def watch(frame, event, argument):
    if event != "call":
        return
    name = frame.f_code.co_name
    if name in FILTERS and of_first_filters(frame):  # the deepest: a form of it that is faster has its name
        stacks["gradient"] = max(stacks.get("gradient", []), stack(frame), key=len)
    elif name == "write_atomic" and "checkpoint" not in stacks:
        if any("save_checkpoint" in name for name in stack(frame)):
            stacks["checkpoint"] = stack(frame)

sys.setprofile(watch)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    sys.setprofile(None)
    Path(stacks_file).write_text(json.dumps(stacks))
"""
FILTERS = ("filter_gradient",)  # what computes the gradient of filters


def measure() -> dict[str, list[str]]:
    """Each stack from `main` of train.py to the last call, as "file function"."""
    with tempfile.TemporaryDirectory() as folder:
        stacks_file = Path(folder) / "stacks.json"
        program = WATCH.replace("FILTERS", repr(FILTERS))
        out = str(Path(folder) / "run")
        command = [sys.executable, "-c", program, str(ROOT), str(stacks_file), *OPTIONS, "--out", out]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode or not stacks_file.exists():
            sys.exit(f"docs.way: train.py ended with {done.returncode}: {done.stderr}")
        stacks: dict[str, list[str]] = json.loads(stacks_file.read_text("utf-8"))
    return {name: stack[stack.index("train.py main") :] for name, stack in stacks.items()}


def section(stacks: dict[str, list[str]]) -> str:
    """The two stacks as the page shows them; what both begin with is shown once."""
    down, back = stacks["gradient"], stacks["checkpoint"]
    shared = next(i for i, (one, other) in enumerate(zip(down, back, strict=False)) if one != other)
    width = max(len(name.split()[0]) for name in (*down, *back)) + 2

    def lines(stack: list[str], first: int) -> list[str]:
        return [f"    {i + 1:>2}  {name.split()[0]:<{width}}{name.split()[1]}" for i, name in enumerate(stack)][first:]

    return "\n".join(
        [
            f"{len(down)} calls deep, the gradient of the encoder's first filters:",
            "",
            *lines(down, 0),
            "",
            f"{len(back)} calls deep, the state is written; the first {shared} are those above:",
            "",
            *lines(back, shared),
        ]
    )


def main() -> int:
    """Write the section anew."""
    Parser(command="docs.way", description=__doc__).parse_args()
    text = PAGE.read_text("utf-8")
    start, end = MARKS
    body = section(measure())
    PAGE.write_text(
        re.sub(f"{start}.*{end}", lambda _: f"{start}\n{body}\n{end}", text, flags=re.DOTALL), "utf-8", newline="\n"
    )
    print(body)
    return 0


if __name__ == "__main__":
    sys.exit(main())
