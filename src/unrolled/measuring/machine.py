"""What machine this is, in the words that tell its speed."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

CPUINFO = Path("/proc/cpuinfo")
FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "asimd", "sve")
"""What of a processor's flags decides how fast it multiplies."""


def machine(device: str = "cpu") -> dict[str, Any]:
    """Return the machine's facts: processor, GPU where ``device`` is one, and libraries."""
    told = _cpuinfo()
    flags = (told.get("flags") or told.get("Features") or "").split()
    facts: dict[str, Any] = {
        "processor": told.get("model name") or platform.processor() or platform.machine(),
        "family": "-".join(told[key] for key in ("cpu family", "model") if key in told),
        "processors": os.cpu_count() or 1,
        "features": [name for name in FEATURES if name in flags],
        "torch": torch.__version__,
        "libraries": _libraries(),
    }
    if torch.device(device).type == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return facts


def described(facts: dict[str, Any]) -> str:
    """Return the facts in one line."""
    where = facts.get("gpu") or facts["processor"]
    features = ", ".join(facts["features"]) or "features unknown"
    return f"{where}, {facts['processors']} processors ({features}), torch {facts['torch']}"


def _cpuinfo() -> dict[str, str]:
    """Return what Linux tells of the first processor."""
    try:
        first = CPUINFO.read_text("utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _libraries() -> list[str]:
    """Return the maths libraries that this PyTorch was built with."""
    built = torch.__config__.show()
    known = {"MKL": r"Math Kernel Library|BLAS_INFO=mkl", "OpenBLAS": r"BLAS_INFO=open", "oneDNN": r"MKL-DNN"}
    found = [name for name, pattern in known.items() if re.search(pattern, built)]
    cudnn: Any = torch.backends.cudnn
    return [*found, "cuDNN"] if cudnn.is_available() else found
