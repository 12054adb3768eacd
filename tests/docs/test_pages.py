"""The pages hang together: links lead somewhere, blocks are run, and the tree shows every room."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
LANGUAGES = {"python", "sh", "console", "toml", "text"}


def anchors(path: Path) -> set[str]:
    """Return the names under which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        place, _, anchor = target.partition("#")
        file = (path.parent / place) if place else path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_block_says_whether_it_is_run(path: Path) -> None:
    fences = re.findall(r"^[ >]*```(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) % 2 == 0
    assert set(fences[::2]) <= LANGUAGES
    assert set(fences[1::2]) <= {""}


def test_the_tree_in_the_readme_shows_every_room() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text[text.index("src/unrolled/\n") :].partition("```")[0]
    shown = set(re.findall(r"^  ([\w.]+)/? ", tree, re.MULTILINE))
    package = ROOT / "src" / "unrolled"
    folders = {path.name for path in package.iterdir() if path.is_dir()} - {"__pycache__"}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert shown == folders | modules


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= set(re.findall(r"docs/([\w-]+\.md)", text))
