"""Nets: the spec, and the module that runs it."""

from unrolled.net.chain import Chain, chain
from unrolled.net.execution import State
from unrolled.net.graph import UnrolledGraph, unroll_graph
from unrolled.net.init import initialise
from unrolled.net.module import Net
from unrolled.net.reference import reference
from unrolled.net.rolling import cut, roll
from unrolled.net.score import Score
from unrolled.net.spec import Edge, Layer, Param, Spec

__all__ = [
    "Chain",
    "Edge",
    "Layer",
    "Net",
    "Param",
    "Score",
    "Spec",
    "State",
    "UnrolledGraph",
    "chain",
    "cut",
    "initialise",
    "reference",
    "roll",
    "unroll_graph",
]
