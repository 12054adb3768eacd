"""Run the families and print their table; exit code 1 where anything failed."""

from __future__ import annotations

import sys

from .command import main

sys.exit(main())
