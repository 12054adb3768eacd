from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import unrolled

PUBLIC = {
    "Cell", "Chain", "Choice", "Corpus", "GRU", "GatedCell", "LSTM", "LSTMState", "LinearCell",
    "Listener", "Net", "NetBuilder",
    "MinGRU", "MinLSTM", "PeepholeLSTM", "RNN",
    "ReluRNN",
    "answers", "generate",
    "Recording", "Run", "Stream", "Streams", "TrainingSettings",
    "Vocab", "Window", "Windows", "__version__", "chain",
    "detach",
    "evaluate",
    "fit", "inspect", "load", "read_net", "record", "report", "resume", "text_pieces", "train", "unroll",
}  # fmt: skip


def test_the_public_names_are_these_and_no_others() -> None:
    assert set(unrolled.__all__) == PUBLIC and dir(unrolled) == sorted(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_what_it_says_whatever_was_imported_before(name: str) -> None:
    importlib.import_module("unrolled.training.api")
    importlib.import_module("unrolled.unrolling")
    found = getattr(unrolled, name)
    assert name == "__version__" or found.__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Transformer'"):
        _ = unrolled.Transformer


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'pydantic', 'rich', 'cyclopts'}"
    code = f"import sys, unrolled; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
