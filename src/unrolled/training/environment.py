"""What, beside the checkpoint, decides the bits of a training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from unrolled.engines.native.compiler import find_compiler
from unrolled.errors import SettingsError
from unrolled.net import Net
from unrolled.net.quiet import forked_random
from unrolled.settings import Settings, TrainingSettings
from unrolled.training.allocator import kept_memory


def environment(net: Net, settings: Settings) -> dict[str, Any]:
    """Return what must be equal for a resumed training to be bit-identical."""
    device = next(net.parameters()).device
    on_gpu, engines = device.type == "cuda", net.engines()
    return {
        "torch": torch.__version__,
        "engines": engines,
        "compiler": find_compiler().version.splitlines()[0] if "native" in engines.values() else None,
        "threads": torch.get_num_threads(),
        "processor": torch.cuda.get_device_name(device)
        if on_gpu
        else torch.backends.cpu.get_cpu_capability(),
        "device": device.type,
        "deterministic": settings.training.deterministic,
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that keeps a resume from being bit-identical."""
    return [
        f"not bit-identical because {what} was {before.get(what)}, is {value}"
        for what, value in now.items()
        if before.get(what) != value
    ]


def pick_device(name: str) -> torch.device:
    """Return the device that a setting names; SettingsError if the machine has none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"device: wanted cpu, cuda, cuda:1 ... or auto, came '{name}'") from None
    if device.type not in ("cpu", "cuda") or name.startswith("cpu:"):
        raise SettingsError(f"device: wanted cpu, cuda, cuda:1 ... or auto, came '{name}'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device: {name} was asked for, this PyTorch sees {torch.cuda.device_count()} GPUs"
        )
    return device


@contextmanager
def process_settings(settings: TrainingSettings) -> Iterator[None]:
    """Set threads, determinism and the allocator for a while; keep the caller's random states.

    SettingsError where determinism is demanded of an operation that has no such form.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with forked_random(pick_device(settings.device)), kept_memory():
        try:
            if settings.threads:
                torch.set_num_threads(settings.threads)
            if settings.deterministic:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(settings.deterministic or strict)
            yield
        except RuntimeError as error:
            if not settings.deterministic or "deterministic" not in str(error):
                raise
            what = " ".join(str(error).split()).partition(", but you set")[0]
            raise SettingsError(
                f"deterministic: wanted operations that always give the same bits, but {what}; leave "
                "--deterministic out, or take another engine or cell"
            ) from error
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
