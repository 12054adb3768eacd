"""What is shipped: all that is needed, nothing else, the same bytes each time; and what it hangs on.

Wheels and source archives are built by hatchling, in copies of the repository, without a network.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from .trials import Trial, Wrong

Look = Callable[[Path, random.Random], None]
ROOT = Path(__file__).parents[2]
NEEDED = (
    "unrolled/py.typed", "unrolled/recipes/hello.toml", "unrolled/recipes/patterns/rows.toml",
    "unrolled/recipes/singa/char-rnn.conf", "unrolled/recipes/caffe/binary_addition.prototxt",
    "unrolled/engines/native/sources/kernels.h", "unrolled/inspection/pages/static/inspection.js",
    "unrolled/inspection/pages/static/inspection.html", "unrolled/inspection/pages/static/common.css",
)  # fmt: skip
STRAY = (
    "evil.pth", "book.txt", "model.safetensors", "tests/test_it.py", "recipes/mine.pkl", ".env",
    "data/corpus.bin", "recipes/config.json", "inspection/pages/static/map.js.map", "run.ipynb",
    "engines/native/sources/kernels.so", "sitecustomize.pth", "recipes/.mine.toml.swp",
    "cells/__pycache__/lstm.cpython-311.pyc",
)  # fmt: skip
"""What may lie in somebody's package by mistake."""
KEPT_OUT = re.compile(r"\.(pth|pyc|so|pkl|safetensors|npz?|txt|jsonl?|swp|bin)$|/tests?/|__pycache__")
BUILD = """
import os, sys
os.umask(int(sys.argv[2], 8))
from hatchling import build
print(build.build_wheel(sys.argv[1]))
print(build.build_sdist(sys.argv[1]))
"""
MACHINE = re.compile(
    rb"(?<![\w./:-])/(?:home|root|Users|work|mnt|media|srv|scratch)/[\w.-]+|(?<!\w)[A-Z]:\\[\w]+"
)
"""A place on somebody's own machine."""
MODULES = {"tomli-w": "tomli_w", "import-linter": "importlinter", "pytest-xdist": "numprocesses"}
"""What a package is imported as, or told by, where its name differs."""


def trials() -> Iterable[Trial]:
    """Yield every trial."""
    for function in (
        two_builds_are_one, the_wheel_holds_the_package_alone, a_source_archive_builds_the_wheel,
        strays_stay_out, a_wheel_is_all_that_is_needed, nothing_names_a_machine, every_dependency_is_used,
        every_pin_is_needed_and_every_need_is_pinned, what_counts_as_a_bug_is_said,
    ):  # fmt: skip
        yield Trial(function.__name__.replace("_", " "), function)


def tracked() -> list[str]:
    """Return the repository's files; without git, what lies there but for what .gitignore names."""
    asked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if asked.returncode == 0 and asked.stdout:
        return [name for name in asked.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    left_out = re.compile(r"(^|/)(__pycache__|\.[a-z_]+(_cache)?|runs|dist)/")
    found = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file())
    return sorted(name for name in found if not left_out.search(name))


def copied(to: Path, names: Iterable[str]) -> Path:
    """Copy files of the repository, in the order given."""
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, to / name)
    return to


def built(tree: Path, to: Path, umask: str = "022", **environment: str) -> tuple[Path, Path]:
    """Build the wheel and the source archive of a tree; return them."""
    to.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(to), umask],
        cwd=tree, capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    if done.returncode:
        raise Wrong(f"the build failed: {done.stderr[-400:]}")
    wheel, source = done.stdout.split()[-2:]
    return to / wheel, to / source


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _package() -> set[str]:
    """Return the names that the package's files have in a wheel."""
    return {name.removeprefix("src/") for name in tracked() if name.startswith("src/")}


def two_builds_are_one(folder: Path, draw: random.Random) -> None:
    """Build twice, all that should not matter being otherwise: folder, order, age, rights, zone, language."""
    names = tracked()
    one = copied(folder / "one", names)
    other = copied(folder / "quite another folder" / "é", draw.sample(names, len(names)))
    for path in other.rglob("*"):
        os.utime(path, (seconds := draw.randrange(10**9, 2 * 10**9), seconds))
        path.chmod(0o700 if path.is_dir() else draw.choice((0o600, 0o644, 0o664)))
    first = built(one, folder / "first")
    odd = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7", "HOME": str(folder)}
    second = built(other, folder / "second", "077", **odd)
    dated = [
        built(tree, folder / f"dated {tree.name}", SOURCE_DATE_EPOCH="1700000000") for tree in (one, other)
    ]
    for pair in (*zip(first, second, strict=True), *zip(*dated, strict=True)):
        if len({path.name for path in pair}) > 1 or len({_sha256(path.read_bytes()) for path in pair}) > 1:
            raise Wrong(f"two builds of {pair[0].name} differ: {_differing(*pair)}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _differing(one: Path, other: Path) -> str:
    if one.suffix != ".whl":
        return "a source archive"
    here, there = _contents(one), _contents(other)
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    return ", ".join(names[:5]) or "the archive, not its files"


def the_wheel_holds_the_package_alone(folder: Path, draw: random.Random) -> None:
    """Hold what the wheel has against what the repository has, and the archive against its own record."""
    wheel, source = built(copied(folder / "tree", tracked()), folder / "built")
    found = _contents(wheel)
    notes = {name for name in found if ".dist-info/" in name}
    package = found.keys() - notes
    if package != _package():
        raise Wrong(f"the wheel and the package differ in {sorted(package ^ _package())[:5]}")
    odd = sorted(name for name in package if KEPT_OUT.search(name) or not name.startswith("unrolled/"))
    missing = [name for name in NEEDED if name not in package]
    if odd or missing:
        raise Wrong(f"the wheel holds {odd}, and lacks {missing}")
    _check_record(found)
    with tarfile.open(source) as archive:
        inside = [member for member in archive if not member.isfile() or KEPT_OUT.search(member.name)]
    if inside:
        raise Wrong(f"the source archive holds {[member.name for member in inside[:5]]}")


def _check_record(found: Mapping[str, bytes]) -> None:
    record = next(name for name in found if name.endswith("RECORD"))
    told = {name: sha for name, sha, _ in csv.reader(io.StringIO(found[record].decode()))}
    for name, data in found.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        if name != record and told.get(name) != f"sha256={digest}":
            raise Wrong(f"RECORD tells {told.get(name)} of {name}")


def a_source_archive_builds_the_wheel(folder: Path, draw: random.Random) -> None:
    """Build a wheel from the source archive: it is the one that was built from the repository."""
    wheel, source = built(copied(folder / "tree", tracked()), folder / "built")
    with tarfile.open(source) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [tree] = (folder / "unpacked").iterdir()
    again, _ = built(tree, folder / "again")
    if again.read_bytes() != wheel.read_bytes():
        raise Wrong(f"the archive's wheel differs in {_differing(wheel, again)}")


def strays_stay_out(folder: Path, draw: random.Random) -> None:
    """Leave things in the package that have no business there, and build."""
    tree = copied(folder / "tree", tracked())
    plain = _contents(built(tree, folder / "plain")[0])
    for name in STRAY:
        path = tree / "src" / "unrolled" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw.randbytes(100))
    (tree / "src" / "own.pth").write_text("import os\n")
    wheel, source = built(tree, folder / "built")
    found = sorted(_contents(wheel).keys() - plain.keys())
    with tarfile.open(source) as archive:
        found += [name for name in archive.getnames() if any(name.endswith(f"/{stray}") for stray in STRAY)]
    if found:
        raise Wrong(f"shipped is {found}")


def a_wheel_is_all_that_is_needed(folder: Path, draw: random.Random) -> None:
    """Unpack the wheel and nothing else; train, sample and inspect with it, somewhere else."""
    wheel, _ = built(copied(folder / "tree", tracked()), folder / "built")
    site, there = folder / "site", folder / "there"
    there.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (there / "book.txt").write_text("one two three four five six\n" * 60, encoding="utf-8")
    small = ["--hidden", "6", "--layers", "1", "--lanes", "3", "--window", "8", "--max-updates", "4"]
    commands = [
        ["train", "book.txt", *small, "--run", "run", "--quiet", "--threads", "1"],
        ["sample", "run", "--length", "20"], ["inspect", "run", "--longest", "0"],
        ["net", "draw", "patterns/rows", "-o", "net.svg"], ["net", "show", "caffe/binary_addition"],
        ["net", "show", "singa/char-rnn"], ["train", "book.txt", "--recipe", "hello", "--print-config"],
        ["info"], ["data", "list"],
    ]  # fmt: skip
    program = (
        "import sys, unrolled\nfrom unrolled.cli.main import run\n"
        f"assert unrolled.__file__.startswith({str(site)!r}), unrolled.__file__\n"
        f"for words in {commands!r}:\n    assert run(words) == 0, words\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("UNROLLED_")}
    environment |= {"PYTHONPATH": str(site), "UNROLLED_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=there,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Wrong(f"the wheel by itself fails: {done.stderr[-600:]}")
    page = (there / "run" / "inspection.html").read_text(encoding="utf-8")
    if "</html>" not in page or len(page) < 50_000:
        raise Wrong(f"the page of an inspection has {len(page)} characters")


def nothing_names_a_machine(folder: Path, draw: random.Random) -> None:
    """Look in every file of the repository for places on somebody's own machine."""
    found = []
    for name in tracked():
        data = (ROOT / name).read_bytes()
        own = [str(ROOT).encode()] if str(ROOT).encode() in data else []
        found += [f"{name}: {place.decode()}" for place in [*MACHINE.findall(data), *own]]
    if found:
        raise Wrong("; ".join(found[:8]))


def _project() -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _imported(folder: str) -> set[str]:
    """Return the modules that Python files of a folder import, by their first names."""
    import ast

    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found.update(re.findall(r"""import_module\(["'](\w+)""", text))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def every_dependency_is_used(folder: Path, draw: random.Random) -> None:
    """Hold what pyproject.toml asks for against what is imported, and the other way round."""
    project = _project()
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    asked = {_name(text) for text in project["dependencies"]}  # type: ignore[attr-defined]
    more = {_name(text) for name, texts in extras.items() if name != "dev" for text in texts}
    imported = _imported("src/unrolled")
    modules = {name: MODULES.get(name, name.replace("-", "_")) for name in asked | more}
    idle = sorted(name for name in asked | more if modules[name] not in imported)
    unknown = sorted(
        name for name in imported - {"unrolled", *modules.values(), *sys.stdlib_module_names}
        if not _comes_with(name, asked)
    )  # fmt: skip
    tools = {_name(text) for text in extras["dev"]} - more
    told = "".join((ROOT / name).read_text() for name in ("scripts/check", "scripts/test", "pyproject.toml"))
    used = _imported("tests") | _imported("src/unrolled") | {"lint_imports"} | set(re.findall(r"\w+", told))
    idle += sorted(name for name in tools if MODULES.get(name, name.replace("-", "_")) not in used)
    if idle or unknown:
        raise Wrong(f"nothing uses {idle}; nothing asks for {unknown}")


def _comes_with(module: str, asked: set[str]) -> bool:
    """Tell whether a module is of a package that one that is asked for asks for itself."""
    from importlib.metadata import packages_distributions, requires

    known = {_name(text) for name in asked for text in requires(name) or () if "extra ==" not in text}
    return any(_name(package) in known for package in packages_distributions().get(module, ()))


def needs(name: str, extra: str = "") -> Iterator[str]:
    """Yield the names of all that a package needs here, with one of its extras."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    waiting, seen = [(name, extra)], set()
    while waiting:
        package, with_extra = waiting.pop()
        if (package, with_extra) in seen:
            continue
        seen.add((package, with_extra))
        yield _name(package)
        try:
            asked = [Requirement(text) for text in requires(package) or ()]
        except PackageNotFoundError:
            continue
        met = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": with_extra})]
        waiting += [(one.name, found) for one in met for found in ("", *one.extras)]


def every_pin_is_needed_and_every_need_is_pinned(folder: Path, draw: random.Random) -> None:
    """Hold constraints.txt against all that the development tools bring, and pyproject's bounds."""
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pins = dict(line.split("==") for line in lines)
    pinned = {_name(name) for name in pins}
    project = _project()
    every: list[str] = [*project["dependencies"], *project["optional-dependencies"]["dev"]]  # type: ignore
    wanted = [Requirement(text) for text in every]
    here = {_name(found.name) for found in importlib.metadata.distributions()}
    absent = sorted({_name(one.name) for one in wanted} - here)
    if absent:
        raise Wrong(f"not installed here is {absent}, so what they need can't be told; make setup")
    needed = {found for one in wanted for found in needs(one.name)}
    # CUDA's libraries come with some builds of torch and not with others; torch pins them itself.
    missing = sorted(name for name in needed - pinned if not name.startswith(("nvidia-", "triton", "cuda-")))
    versions = {_name(name): version for name, version in pins.items()}
    idle = sorted(pinned - needed)
    outside = [str(one) for one in wanted if not one.specifier.contains(versions.get(_name(one.name), "0"))]
    if missing or idle or outside:
        raise Wrong(f"not pinned: {missing}; pinned and not needed: {idle}; out of bounds: {outside}")


def what_counts_as_a_bug_is_said(folder: Path, draw: random.Random) -> None:
    """Look for SECURITY.md, and for somebody to lead there."""
    if not (ROOT / "SECURITY.md").is_file():
        raise Wrong("there is no SECURITY.md")
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")]
    if not any("(SECURITY.md)" in page for page in pages):
        raise Wrong("neither README.md nor CONTRIBUTING.md leads to SECURITY.md")
