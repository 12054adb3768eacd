"""Nets: the spec, and the module that runs it."""

from unrolled.net.init import initialise
from unrolled.net.module import Net, State
from unrolled.net.spec import Chain, Edge, Layer, Spec, chain

__all__ = ["Chain", "Edge", "Layer", "Net", "Spec", "State", "chain", "initialise"]
