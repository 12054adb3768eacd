from __future__ import annotations

from pathlib import Path

import pytest

from unrolled.errors import SettingsError
from unrolled.settings import GROUP_OF, Settings, from_tables, recipes, resolve


def test_without_sources_every_setting_is_its_default() -> None:
    found = resolve()
    assert found.settings == Settings()
    assert set(found.origin) == set(GROUP_OF) and set(found.origin.values()) == {"default"}


def test_a_later_source_wins_and_is_named_as_the_origin(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('recipe = "hello"\n[training]\nlr = 0.5\nseed = 5\n[net]\nhidden = 9\n')
    found = resolve(str(file), {"UNROLLED_SEED": "6", "UNROLLED_HIDDEN": "10", "HOME": "/"}, {"hidden": "11"})
    settings, origin = found.settings, found.origin
    assert (settings.net.hidden, origin["hidden"]) == (11, "--hidden")
    assert (settings.training.seed, origin["seed"]) == (6, "UNROLLED_SEED")
    assert (settings.training.lr, origin["lr"]) == (0.5, str(file))
    assert (settings.data.window, origin["window"]) == (4, "recipe hello")
    assert (settings.training.beta1, origin["beta1"]) == (0.9, "default")


def test_a_flag_that_is_none_was_not_given() -> None:
    assert resolve(flags=dict.fromkeys(GROUP_OF)).settings == Settings()


def test_the_table_lists_every_setting_once_with_value_and_origin() -> None:
    table = list(resolve(flags={"lr": "0.25"}).table())
    assert [name for _, name, _, _ in table] == list(GROUP_OF)
    assert ("training", "lr", 0.25, "--lr") in table


def test_lists_come_as_one_text_outside_toml() -> None:
    found = resolve(environment={"UNROLLED_SAMPLE_AT": "300, 100"}, flags={"split": "0.7,0.2"}).settings
    assert (found.data.split, found.training.sample_at) == ((0.7, 0.2), (300, 100))


@pytest.mark.parametrize(
    ("given", "other"), [("epochs", "max_updates"), ("clip_norm", "clip_value")], ids=["end", "clip"]
)
@pytest.mark.parametrize("swap", [False, True])
def test_of_two_alternatives_the_one_given_later_replaces_the_other(
    given: str, other: str, swap: bool
) -> None:
    given, other = (other, given) if swap else (given, other)
    for source in ("flags", "environment"):
        key = f"UNROLLED_{given.upper()}" if source == "environment" else given
        found = resolve("demo", **{source: {key: "7"}})  # type: ignore[arg-type]
        assert getattr(found.settings.training, given) == 7
        assert getattr(found.settings.training, other) == 0
        assert found.origin[given] == found.origin[other] != "default"


def test_alternatives_that_come_together_both_hold() -> None:
    for environment, flags in (
        ({"UNROLLED_EPOCHS": "3", "UNROLLED_MAX_UPDATES": "20"}, {}),
        ({"UNROLLED_MAX_UPDATES": "20", "UNROLLED_EPOCHS": "3"}, {}),
        ({}, {"epochs": 3, "max_updates": 20}),
        ({}, {"max_updates": 20, "epochs": 3}),
    ):
        training = resolve(None, environment, flags).settings.training
        assert (training.epochs, training.max_updates) == (3, 20)


@pytest.mark.parametrize("zero", [0, 0.0, "0", "0.0"])
def test_an_alternative_that_is_switched_off_leaves_the_other_alone(zero: object) -> None:
    assert resolve(flags={"clip_value": zero}).settings.training.clip_norm == 5.0
    assert resolve("char-rnn", flags={"clip_norm": zero}).settings.training.clip_value == 5.0
    assert resolve("demo", flags={"epochs": int(float(zero))}).settings.training.max_updates == 2500  # type: ignore[arg-type]


BAD = [
    ({"hidden": "12.5"}, "--hidden: wanted a whole number, came '12.5'"),
    ({"hidden": ""}, "--hidden: wanted a whole number, came ''"),
    ({"hidden": "many"}, "--hidden: wanted a whole number, came 'many'"),
    ({"hidden": "nan"}, "--hidden: wanted a whole number, came 'nan'"),
    ({"hidden": 0}, "--hidden: wanted more than 0, came 0"),
    ({"hidden": "-3"}, "--hidden: wanted more than 0, came '-3'"),
    ({"layers": 10**20}, f"--layers: wanted at most 1000, came {10**20}"),
    ({"lanes": 2**31}, "--lanes: wanted less than 2147483648, came 2147483648"),
    ({"seed": -1}, "--seed: wanted 0 or more, came -1"),
    ({"seed": 2**32}, "--seed: wanted less than 4294967296, came 4294967296"),
    ({"threads": 100_000}, "--threads: wanted at most 1024, came 100000"),
    ({"lr": "nan"}, "--lr: wanted a finite number, came 'nan'"),
    ({"lr": float("nan")}, "--lr: wanted a finite number, came nan"),
    ({"lr": "-inf"}, "--lr: wanted a finite number, came '-inf'"),
    ({"lr": "fast"}, "--lr: wanted a number, came 'fast'"),
    ({"lr": 0}, "--lr: wanted more than 0, came 0"),
    ({"dropout": "1"}, "--dropout: wanted less than 1, came '1'"),
    ({"dropout": -0.1}, "--dropout: wanted 0 or more, came -0.1"),
    ({"decay_factor": 1.5}, "--decay-factor: wanted at most 1, came 1.5"),
    ({"cell": ""}, "--cell: wanted a text that is not empty, came ''"),
    ({"boundary": ""}, "--boundary: wanted a text that is not empty, came ''"),
    ({"units": "word"}, "--units: wanted 'char' or 'byte', came 'word'"),
    ({"deterministic": "perhaps"}, "--deterministic: wanted true or false, came 'perhaps'"),
    ({"split": "0.9,x"}, "--split at place 2: wanted a number, came 'x'"),
    ({"split": "0.9,0"}, "--split at place 2: wanted more than 0, came '0'"),
    (
        {"split": "0.9,0.2"},
        "--split: wanted one to three shares that sum to at most 1, came [0.9, 0.2]",
    ),
    ({"split": ""}, "--split: wanted one to three shares that sum to at most 1, came []"),
    ({"sample_at": "100,-2"}, "--sample-at at place 2: wanted more than 0, came '-2'"),
    (
        {"clip_norm": 1, "clip_value": 2},
        "--clip-norm and --clip-value: gradients are clipped by norm or by element; set one of the two to 0",
    ),
    ({"embedding_dropout": 0.5}, "--embedding-dropout: there is no embedding to drop from"),
    ({"epochs": 0}, "--epochs: epochs and max_updates are both 0: training would never end"),
    ({"optimizer": "nesterov"}, "--optimizer: nesterov looks ahead by the momentum; set momentum"),
    (
        {"lr_steps": "5,9", "lr_values": "0.1"},
        "--lr-values: wanted one of lr_values for each of the 2 lr_steps, came 1",
    ),
    (
        {"lr_steps": "9,9", "lr_values": "0.1,0.2"},
        "--lr-steps: each must be more than the one before, came [9, 9]",
    ),
    ({"lr_steps": "5"}, "--lr-steps: wanted one of lr_values for each of the 1 lr_steps, came 0"),
    ({"schedule": "fixed-step"}, "--schedule: 'fixed-step' needs lr_steps and lr_values"),
]


@pytest.mark.parametrize(("flags", "line"), BAD, ids=[line[:40] for _, line in BAD])
def test_a_bad_value_gives_one_line_that_says_where_what_was_wanted_and_what_came(
    flags: dict[str, object], line: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(flags=flags)
    (problem,) = caught.value.problems
    assert problem.startswith(line) and "\n" not in problem
    assert caught.value.exit_code == 2


def test_a_long_value_is_shown_cut_short() -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(flags={"lr": "x" * 5000})
    assert len(str(caught.value)) < 200


def test_an_unknown_setting_in_the_environment_or_among_the_flags_names_the_nearest() -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(None, {"UNROLLED_HIDEN": "3", "UNROLLED_LR": "x"}, {"layer": 2})
    first, second, third = sorted(caught.value.problems)
    assert (
        first
        == "UNROLLED_HIDEN is in the environment, but there is no setting 'hiden'; did you mean 'hidden'?"
    )
    assert second == "UNROLLED_LR: lr: wanted a number, came 'x'"
    assert third == "there is no setting 'layer'; did you mean 'layers'?"


def test_the_environments_cache_is_no_setting() -> None:
    assert resolve(environment={"UNROLLED_CACHE": "/nowhere"}).settings == Settings()


def test_all_problems_of_a_file_come_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(
        "data = 3\n"
        "[net]\nhiden = 7\nlr = 0.1\nhidden = 0\nlayers = 2.5\nlayers_of_it = 1\n"
        "[traning]\nlr = 1\n"
        "[training]\nlr = nan\nclip_norm = inf\nepochs = -1\nseed = true\noptimizer = 'adm'\nprecision = ''\n"
    )
    with pytest.raises(SettingsError) as caught:
        resolve(str(file))
    said = caught.value.problems
    assert all(problem.startswith(f"{file}:") and "\n" not in problem for problem in said)
    rest = {problem.removeprefix(f"{file}:") for problem in said}
    assert {
        "1:1: 'data' must be a table, [data], not 3",
        "3:1: net.hiden is unknown; did you mean 'hidden'?",
        "4:1: net.lr is unknown; it belongs to [training]",
        "7:1: net.layers_of_it is unknown; did you mean 'layers'?",
        "8:1: 'traning' is no table of settings; did you mean 'training'?",
        "5:1: hidden: wanted more than 0, came 0",
        "6:1: layers: wanted a whole number, came 2.5",
        "11:1: lr: wanted a finite number, came nan",
        "12:1: clip_norm: wanted a finite number, came inf",
        "13:1: epochs: wanted 0 or more, came -1",
        "16:1: precision: wanted 'float32', 'float64' or 'bf16', came ''",
    } <= rest
    assert any(line.startswith("15:1: optimizer: wanted 'sgd', 'nesterov'") for line in rest)


def test_a_contradiction_is_told_at_the_place_of_what_somebody_gave(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(
        "net.embedding_dropout = 0.5\n[training]\nlr_steps = [5]\nclip_value = 1\nclip_norm = 2\nepochs = 0\n"
    )
    with pytest.raises(SettingsError) as caught:
        resolve(str(file))
    starts = [problem.removeprefix(f"{file}:").partition(": ")[0] for problem in caught.value.problems]
    assert starts == ["1:1", "5:1", "6:1", "3:1"]


def test_thousands_of_wrong_names_are_told_in_a_few_lines(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[net]\n" + "".join(f"n{number} = 1\n" for number in range(40_000)))
    with pytest.raises(SettingsError) as caught:
        resolve(str(file))
    *_, told, last = caught.value.problems
    assert told == f"{file}:21:1: net.n19 is unknown"
    assert last == f"{file}:22:1: 39,980 more that are no settings"


def test_of_a_list_of_wrong_numbers_the_first_is_told(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(f"[training]\nlr = -1\nsample_at = [1, {'-2, ' * 9999}]\n")
    with pytest.raises(SettingsError) as caught:
        resolve(str(file))
    assert caught.value.problems == [
        f"{file}:2:1: lr: wanted more than 0, came -1",
        f"{file}:3:1: sample_at at place 2: wanted more than 0, came -2",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[net\n", "1:5: this is not TOML"),
        (b"[net]\nhidden = 1\nhidden = 2\n", "3:11: this is not TOML: Cannot overwrite a value"),
        (b"\xff\xfe[net]", "1:1: this is no UTF-8 text (byte 0 is 0xff)"),
        (b"[net] # \xc3\xa9\xc3\n", "1:10: this is no UTF-8 text (byte 10 is 0xc3)"),
        (b"x = " + b"[" * 5000, "1:69: lists and tables are at most 64 deep in each other"),
        (b"x.x = " + b"{x.x = " * 40 + b"1" + b"}" * 40, "1:225: lists and tables are at most 64 deep"),
        (b"[net]\nhidden = " + b"9" * 5000, "2:10: this is not TOML: a whole number has at most 64 bits"),
        (b"[net]\nhidden = 0x" + b"f" * 5000, "2:1: wanted a whole number of at most 64 bits"),
        (b"x = [" + b"1, " * 99_999 + b"]", "1:180001: wanted at most 60,000 values"),
        (b"x" + b".x" * 100 + b" = 1", "1:1: a key has at most 64 parts"),
        (b"recipe = 3", "1:1: recipe: wanted a recipe's name or a TOML file, came 3"),
        (b"recipe = 'no'", "1:1: there is no recipe 'no'"),
        (b"\nrecipe = '\\0/no.toml'", "2:1: "),
        (b"a" * 1_000_001, " a settings file has at most 1 MB, this has 1000001 bytes"),
    ],
    ids=[
        "cut", "twice", "utf-16", "latin-1", "deep", "deep by dots", "long number", "long hexadecimal number",
        "long list", "long key", "no name", "no recipe", "no file", "big",
    ],
)  # fmt: skip
def test_a_file_that_is_no_settings_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        resolve(str(file))
    (problem,) = caught.value.problems
    assert problem.startswith(f"{file}:{said}"), problem


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path: Path) -> None:
    file = tmp_path / "notepad.toml"
    file.write_bytes(b"\xef\xbb\xbf[net]\r\nhidden = 7\r\n")
    assert resolve(str(file)).settings.net.hidden == 7


def test_a_settings_file_that_is_missing_or_a_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(SettingsError, match="there is no such file"):
        resolve(str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match="must be a regular file"):
        resolve(str(tmp_path / "folder.toml"))


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"there is no recipe 'shakespear'; did you mean 'shakespeare'\?"):
        resolve("shakespear")


def test_a_file_starts_from_a_file_that_starts_from_a_recipe(tmp_path: Path) -> None:
    low, high = tmp_path / "low.toml", tmp_path / "high.toml"
    low.write_text('recipe = "char-rnn"\nabout = "lower"\n[net]\nhidden = 9\nlayers = 3\n')
    high.write_text(f'recipe = "{low}"\n[net]\nhidden = 11\n')
    found = resolve(str(high))
    net = found.settings.net
    assert (net.hidden, net.layers, net.forget_bias) == (11, 3, 1.0)
    assert [found.origin[name] for name in ("hidden", "layers", "forget_bias")] == [
        str(high),
        str(low),
        "recipe char-rnn",
    ]


def test_a_file_that_starts_from_itself_is_an_error_that_shows_the_circle(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(f'recipe = "{two}"\n')
    two.write_text(f'recipe = "{one}"\n')
    with pytest.raises(SettingsError) as caught:
        resolve(str(one))
    assert str(caught.value) == f"{two}:1:1: {one} starts from itself: {one} -> {two} -> {one}"


def test_tables_with_problems_are_refused_with_all_of_them() -> None:
    with pytest.raises(SettingsError) as caught:
        from_tables("config.toml", {"net": {"hidden": 0, "x": 1}, "nets": {}})
    assert len(caught.value.problems) == 3


def test_every_shipped_recipe_resolves_and_says_what_it_is_about() -> None:
    shipped = recipes()
    assert {
        "char-rnn", "paul-graham", "shakespeare", "linux", "wikipedia", "latex", "baby-names",
        "hello", "demo", "singa-char-rnn", "counting-rnn", "counting-lstm",
    } <= set(shipped)  # fmt: skip
    for name, about in shipped.items():
        assert about and resolve(name).settings != Settings()
