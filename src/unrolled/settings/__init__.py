"""Everything that can be set; TOML in and out; where each value came from.

The command line, the TOML files, the environment and the docs are all read from the classes in ``fields``.
"""

from unrolled.settings.differences import Difference, differences, written
from unrolled.settings.fields import (
    GROUP_OF,
    GROUPS,
    DataSettings,
    NetSettings,
    Settings,
    TrainingSettings,
    descriptions,
)
from unrolled.settings.resolve import Resolved, resolve
from unrolled.settings.toml import from_tables, recipes, to_tables

__all__ = [
    "GROUPS",
    "GROUP_OF",
    "DataSettings",
    "Difference",
    "NetSettings",
    "Resolved",
    "Settings",
    "TrainingSettings",
    "descriptions",
    "differences",
    "from_tables",
    "recipes",
    "resolve",
    "to_tables",
    "written",
]
