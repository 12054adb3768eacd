"""The model card that lies beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.net import Net
from unrolled.runs import Run

if TYPE_CHECKING:
    from unrolled.training.session import Position

CARD = """# {name}, update {update}

A recurrent character-level language model, trained with Unrolled {version}.

| | |
|---|---|
| layers | {layers} |
| parameters | {parameters:,} |
| vocabulary | {symbols} {units}s |
| text | {text} (SHA-256 {sha}) |
| updates | {update} (epoch {epoch}) |
| validation | {validation} |

```sh
unrolled sample {directory}
```

It writes in the manner of the text it was trained on, and knows nothing else. What it says is not
to be taken for fact.
"""


def model_card(run: Run, net: Net, position: Position) -> str:
    """Return the Markdown text of a checkpoint's README."""
    from unrolled import __version__

    nats = position.validation_nats
    return CARD.format(
        name=run.directory.name,
        directory=f"{run.directory.name}{run.flags}",
        version=__version__,
        update=position.update,
        epoch=position.epoch,
        layers=" → ".join(layer.name for layer in net.spec if layer.type not in ("label", "softmax-loss")),
        parameters=net.num_parameters,
        symbols=len(net.vocab) if net.vocab else net.output_size,
        units=net.vocab.units if net.vocab else "number",
        text=", ".join(Path(path).name for path in run.source.text),
        sha=run.source.text_sha256[:12],
        validation=f"{nats:.4f} nats a target" if nats is not None else "none",
    )
