"""Caffe's layers at the end of a net: losses and accuracy."""

from __future__ import annotations

from math import prod
from typing import Any

from unrolled.net.importers.caffe_blobs import Blob, Phase, check_same, shown
from unrolled.net.importers.schema import Record


def euclidean_loss(p: Phase, r: Record) -> None:
    """Half the squared distance."""
    output = p.numbers(r, 0)
    target = p.numbers(r, 1, like=output)
    came, wanted = ((*x.dims[: x.lead], prod(x.wanted)) for x in (target, output))
    check_same(r, 1, came, wanted, target, output)
    if output.lead == 2:
        p.notes.append(
            f"layer '{r['name']}': Caffe divides the sum of squares by the steps alone, "
            "here the mean is over steps and lanes"
        )
    p.add(r, r["name"], "euclidean-loss", (output, target), _scale(r), lead=output.lead)
    p.put(r, Blob(r["name"], (), 0, ()))


def _scale(r: Record) -> dict[str, Any]:
    weights = r["loss_weight"]
    if len(weights) > 1:
        raise r.error(f"wanted one loss_weight, came {len(weights)}", "loss_weight", 1)
    return {"scale": weights[0]} if weights and weights[0] != 1 else {}


def softmax_loss(p: Phase, r: Record) -> None:
    """Cross-entropy of logits and ids."""
    logits, target = _classes(p, r, "softmax_param")
    settings, loss = _scale(r), r["loss_param"]
    ignores = "ignore_label" in loss
    if ignores and loss["ignore_label"] != -1:
        settings["ignore"] = loss["ignore_label"]
    how = loss["normalization"] or ("BATCH_SIZE" if loss["normalize"] is False else "VALID")
    if how == "NONE":
        raise loss.error(
            "a sum over all targets has no counterpart, only the mean; wanted VALID", "normalization"
        )
    if how != "VALID" and ignores:
        p.notes.append(
            f"layer '{r['name']}': Caffe divides by all targets ({how}), "
            "here the mean is over those that count"
        )
    p.add(r, r["name"], "softmax-loss", (logits, target), settings, lead=logits.lead)
    p.put(r, Blob(r["name"], (), 0, ()))


def accuracy(p: Phase, r: Record) -> None:
    """The share of ids that are among the likeliest."""
    block = r["accuracy_param"]
    if "ignore_label" in block:
        raise block.error("an accuracy that ignores a label has no counterpart; leave it out", "ignore_label")
    logits, target = _classes(p, r, "accuracy_param")
    settings = {"topk": block["top_k"]} if block["top_k"] != 1 else {}
    p.add(r, r["name"], "accuracy", (logits, target), settings, lead=logits.lead)
    p.put(r, Blob(r["name"], (), 0, ()))


def _classes(p: Phase, r: Record, block: str) -> tuple[Blob, Blob]:
    """Return logits [..., V] and targets, one of V ids."""
    logits = p.numbers(r, 0)
    axis = p.axis(r, block, logits)
    V = logits.dims[axis]
    if prod(logits.wanted) != V:
        raise r[block].error(
            f"'{r['bottom'][0]}' {shown(logits.dims)} has more than the {V} classes of axis {axis} for each "
            "lane and step; wanted one prediction each",
            "axis",
        )
    target = p.ids(r, 1, V)
    check_same(r, 1, target.dims[: target.lead], logits.dims[: logits.lead], target, logits)
    return p.shaped(r, logits, (V,)), target
