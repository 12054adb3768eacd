"""From text to windows of ids: vocabularies, corpora, lanes, generated tasks, the catalog."""

from unrolled.data.corpus import Corpus
from unrolled.data.vocab import Decoder, Vocab
from unrolled.data.windows import Window, Windows, lane_bounds, padded

__all__ = ["Corpus", "Decoder", "Vocab", "Window", "Windows", "lane_bounds", "padded"]
