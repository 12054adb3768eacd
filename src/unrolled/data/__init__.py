"""From text to windows of ids: vocabularies, corpora, lanes, generated tasks, the catalog."""

from unrolled.data import catalog
from unrolled.data.cache import cache_folder
from unrolled.data.corpus import Corpus
from unrolled.data.generated import anbn_text, binary_addition, copy_task, counting_text
from unrolled.data.vocab import Decoder, Vocab
from unrolled.data.windows import Window, Windows, lane_bounds, padded

__all__ = [
    "Corpus",
    "Decoder",
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
]
