"""From text to windows of ids, from examples to batches: vocabularies, lanes, generated data, the catalog."""

from unrolled.data import catalog
from unrolled.data.batches import Batch, Batches
from unrolled.data.cache import cache_folder
from unrolled.data.corpus import Corpus
from unrolled.data.examples import Examples, Field, write_jsonl
from unrolled.data.generated import anbn_text, binary_addition, copy_task, counting_text
from unrolled.data.hdf5 import HDF5Batches
from unrolled.data.symbols import Symbols, stored_vocab
from unrolled.data.tasks import TASKS, task
from unrolled.data.vocab import Decoder, Vocab
from unrolled.data.windows import Window, Windows, lane_bounds, padded, reaching

__all__ = [
    "TASKS",
    "Batch",
    "Batches",
    "Corpus",
    "Decoder",
    "Examples",
    "Field",
    "HDF5Batches",
    "Symbols",
    "Vocab",
    "Window",
    "Windows",
    "anbn_text",
    "binary_addition",
    "cache_folder",
    "catalog",
    "copy_task",
    "counting_text",
    "lane_bounds",
    "padded",
    "reaching",
    "stored_vocab",
    "task",
    "write_jsonl",
]
