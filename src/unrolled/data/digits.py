"""Small pictures of digits, drawn by rule: a font of 5 × 7 dots, shifted and made noisy."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

SIDE = 8
"""Pictures are ``SIDE`` × ``SIDE``."""

FONT = (
    ".###.  ..#..  .###.  .###.  ...#.  #####  ..##.  #####  .###.  .###.",
    "#...#  .##..  #...#  #...#  ..##.  #....  .#...  ....#  #...#  #...#",
    "#..##  ..#..  ....#  ....#  .#.#.  ####.  #....  ...#.  #...#  #...#",
    "#.#.#  ..#..  ..##.  ..##.  #..#.  ....#  ####.  ..#..  .###.  .####",
    "##..#  ..#..  .#...  ....#  #####  ....#  #...#  .#...  #...#  ....#",
    "#...#  ..#..  #....  #...#  ...#.  #...#  #...#  .#...  #...#  ...#.",
    ".###.  .###.  #####  .###.  ...#.  .###.  .###.  .#...  .###.  .##..",
)


def drawn_digit(digit: int, generator: Generator | None = None) -> list[list[float]]:
    """Draw a digit as 8 rows of 8 pixels from 0 (paper) to 1 (ink), somewhere in the picture.

    Ink is from 0.7 to 1 and paper from 0 to 0.3, each pixel for itself, so the digit can always be told.
    """
    glyph = glyph_of(digit)
    ink = torch.zeros(SIDE, SIDE)
    down, right = (int(torch.randint(SIDE - size + 1, (), generator=generator)) for size in glyph.shape)
    ink[down : down + glyph.shape[0], right : right + glyph.shape[1]] = glyph
    picture = 0.7 * ink + 0.3 * torch.rand(SIDE, SIDE, generator=generator)
    return [[round(pixel, 3) for pixel in row] for row in picture.tolist()]


def glyph_of(digit: int) -> Tensor:
    """Return the dots [7, 5] of a digit, 0.0 or 1.0."""
    return torch.tensor([[float(dot == "#") for dot in row.split()[digit]] for row in FONT])
