"""The tables in the docs say what the code says; as a script, write the settings into docs/training.md."""

import inspect
import re
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from unrolled.cli import verbs
from unrolled.data import catalog
from unrolled.settings import GROUP_OF, GROUPS, descriptions, recipes

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
BEGIN, END = "<!-- settings -->\n", "<!-- end of settings -->\n"


def settings_tables() -> str:
    """Return a Markdown table of the settings of each group."""
    lines = []
    for group, cls in GROUPS.items():
        lines += [f"### [{group}]", "", "| setting | default | |", "|---|---|---|"]
        for field in fields(cls):
            lines.append(f"| `{field.name}` | {_default(field)} | {descriptions()[field.name]} |")
        lines.append("")
    return "\n".join(["", *lines])


def _default(field: "Field[Any]") -> str:
    assert field.default is not MISSING
    if field.default is None:
        return "unset"
    if isinstance(field.default, tuple):
        return f"`{','.join(map(str, field.default))}`" if field.default else "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def column(text: str, number: int) -> list[str]:
    """Return the cells of one column of every table in a text, without headings and rules."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [row[number].strip() for row in rows if len(row) > number and not set(row[0]) <= set("- :")]


def known_flags() -> set[str]:
    """Return every flag of the command line."""
    nets = (verbs.show_net, verbs.unroll_net, verbs.draw_net, verbs.roll_net)
    looks = (verbs.inspect, verbs.report)
    uses = (verbs.train, verbs.resume, verbs.sample, verbs.evaluate, verbs.bench, verbs.vocab)
    functions = (*uses, *looks, *nets)
    names = {name for function in functions for name in inspect.signature(function).parameters} | set(
        GROUP_OF
    )
    return {f"--{name.replace('_', '-')}" for name in names} | {"--help", "--version"}


def test_the_settings_in_the_docs_are_the_settings_of_the_code() -> None:
    text = page("docs/training.md")
    found = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert found == settings_tables(), "run python tests/docs/test_tables.py"


def test_every_setting_is_described() -> None:
    assert set(descriptions()) == set(GROUP_OF)


def test_every_shipped_recipe_is_in_the_docs_and_no_other() -> None:
    text = page("docs/training.md").partition("## Recipes")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)) == sorted(recipes())


def test_every_text_of_the_catalog_is_in_the_docs_and_no_other() -> None:
    text = page("docs/data.md").partition("## The catalog")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)) == sorted(catalog.names())


def test_every_flag_that_a_page_names_exists() -> None:
    theirs = {"--strict", "--family"}  # mypy's, and scripts/torture's
    for path in PAGES:
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text(encoding="utf-8")))
        assert named - theirs <= known_flags(), f"{path.name}: {named - theirs - known_flags()}"


def test_every_flag_of_char_rnn_has_a_counterpart_that_exists() -> None:
    text = page("docs/char-rnn.md")
    training = """rnn_size num_layers model learning_rate learning_rate_decay learning_rate_decay_after
        decay_rate dropout seq_length batch_size max_epochs grad_clip train_frac val_frac init_from seed
        eval_val_every"""
    sampling = "primetext length temperature sample seed"
    for heading, wanted in (("## Training", training), ("## Sampling", sampling)):
        table = text.partition(heading)[2].partition("\n## ")[0]
        rows = dict(zip(column(table, 0), column(table, 1), strict=True))
        for flag in wanted.split():
            ours = rows[f"`-{flag}`"]
            assert set(re.findall(r"--[a-z-]+", ours)) & known_flags() or "unrolled resume" in ours, flag


def test_the_exit_codes_in_the_docs_are_those_of_the_errors() -> None:
    from unrolled.errors import LoadError, TrainingError, UsageError

    text = page("docs/training.md").partition("## Exit codes")[2]
    codes = {int(code) for code in column(text, 0) if code.isdigit()}
    assert codes == {0, TrainingError.exit_code, UsageError.exit_code, LoadError.exit_code, 130, 143}


if __name__ == "__main__":
    target = ROOT / "docs" / "training.md"
    before, _, rest = target.read_text(encoding="utf-8").partition(BEGIN)
    target.write_text(before + BEGIN + settings_tables() + END + rest.partition(END)[2], encoding="utf-8")
