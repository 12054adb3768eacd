"""Small models and runs to be damaged: made once a process, kept as bytes by name."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

import unrolled
from unrolled.net.spec import Spec

Content = bytes | Callable[[Path], object]
"""A file's bytes, or what makes something else of its path."""
Files = dict[str, Content]
"""What is in a directory, by path."""

CHECKPOINT = ("model.safetensors", "config.json", "state.safetensors", "state.json")
"""The files of a checkpoint that its manifest names."""
KINDS = ("lstm", "bytes", "examples", "own")

_EXAMPLES = Spec.from_dict(
    {
        "layers": [
            {"name": "in", "type": "ids"},
            {"name": "rows", "type": "embedding", "sources": ["in"], "width": 3},
            {"name": "h", "type": "recurrent", "sources": ["rows"], "cell": "gru", "hidden": 4},
            {"name": "out", "type": "ids", "unroll": 1},
            {
                "name": "y",
                "type": "linear",
                "sources": [{"source": "h", "kind": "last"}],
                "size": "out",
                "unroll": 1,
            },
            {"name": "loss", "type": "softmax-loss", "sources": ["y", "out"], "unroll": 1},
        ]
    }
)


class Leaky(unrolled.Cell):
    """A cell of the user's."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Leak."""
        h = 0.9 * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h


@cache
def workshop() -> Path:
    """Return a folder with a text and examples that lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="torture-models-"))
    draw = random.Random(7)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "ran"]
    lines = (" ".join(draw.choices(words, k=6)) for _ in range(40))
    (folder / "book.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = ({"in": draw.choices("abc", k=draw.randint(1, 5)), "out": draw.choice("xy")} for _ in range(30))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def train(kind: str, run: Path, **settings: object) -> unrolled.Run:
    """Train one of KINDS for 12 updates, a checkpoint each 4, in no time."""
    given: dict[str, object] = {
        "hidden": 5, "lanes": 3, "window": 6, "layers": 1, "max_updates": 12, "checkpoint_every": 4,
        "validate_every": 4, "sample_every": 6, "sample_length": 5, "report_every": 2, "threads": 1,
        "engine": "torch",
    }  # fmt: skip
    given |= {
        "lstm": {"cell": "lstm", "dropout": 0.2, "layers": 2},
        "bytes": {"cell": "gru", "units": "byte", "debug": True},
        "examples": {"net": _EXAMPLES, "split": "0.8,0.2"},
        "own": {"cell": Leaky, "engine": "naive"},
    }[kind]
    text = workshop() / ("rows.jsonl" if kind == "examples" else "book.txt")
    return unrolled.train(text, run=run, **{**given, **settings})  # type: ignore[arg-type]


@cache
def trained(kind: str) -> Path:
    """Return a run of this kind; it is only to be read."""
    run = workshop() / kind
    train(kind, run)
    return run


def files_of(folder: Path) -> Files:
    """Return everything in a directory."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@cache
def _kept(kind: str) -> Files:
    return files_of(trained(kind))


def run_of(kind: str) -> tuple[Files, Files]:
    """Return the files of a run but for its checkpoints, and those of its newest checkpoint."""
    inside = f"checkpoints/{unrolled.Run(trained(kind)).updates()[0]}/"
    files = _kept(kind)
    outer = {name: content for name, content in files.items() if not name.startswith("checkpoints/")}
    inner = {name.removeprefix(inside): c for name, c in files.items() if name.startswith(inside)}
    return outer, inner


def sealed(files: Files) -> None:
    """Make the manifest of a checkpoint true again."""
    known = {name: files[name] for name in CHECKPOINT if name in files}
    hashes = {
        name: hashlib.sha256(data).hexdigest() for name, data in known.items() if isinstance(data, bytes)
    }
    files["manifest.json"] = json.dumps(hashes).encode()


def lay_out(files: Files, folder: Path) -> Path:
    """Make a directory of files; return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)
    return folder
