"""YAML and overrides in, a recipe out, or every error at once."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import (
    BodyAndHead,
    FineTune,
    Override,
    Recipe,
    Stage,
    choices,
    dotted_values,
    load,
    parse,
    shipped_path,
    to_yaml,
    varied,
    with_values,
)

DIGITS = shipped_path("digits").read_text()


def changed(old: str, new: str) -> str:
    assert old in DIGITS
    return DIGITS.replace(old, new)


def override(field: str, text: str) -> Override:
    return Override(field, text, f"--set {field}={text}")


def refused(text: str, *overrides: Override) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, "my.yaml", overrides)
    assert caught.value.exit_code == 2
    return caught.value.what


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-4", 1e-4), ("5e-4", 5e-4), ("1.0e-4", 1e-4), ("1E-4", 1e-4), (".5e-3", 5e-4), ("1e0", 1.0), ("0", 0.0)],
)
def test_numbers_are_read_as_a_person_writes_them(text: str, number: float) -> None:
    recipe = parse(changed("weight_decay: 1e-4", f"weight_decay: {text}"), "my.yaml")
    assert recipe.optimizer.weight_decay == number


@pytest.mark.parametrize("text", ["1e4", "1.0e4", "1e+4", "10000"])
def test_a_whole_number_may_be_written_with_an_exponent(text: str) -> None:
    assert parse(changed("epochs: 15", f"epochs: {text}"), "my.yaml").schedule.epochs == 10_000


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "weight_decay: 1e-4",
            "weigth_decay: 1e-4",
            "optimizer.weigth_decay: is not a field; did you mean 'weight_decay'",
        ),
        ("weight_decay: 1e-4", "weight_decay: true", "optimizer.weight_decay: must be a number, not true"),
        ("weight_decay: 1e-4", "weight_decay: .inf", "optimizer.weight_decay: must be a finite number, not inf"),
        ("weight_decay: 1e-4", "weight_decay: .nan", "optimizer.weight_decay: must be a finite number, not nan"),
        ("weight_decay: 1e-4", "weight_decay: -1", "optimizer.weight_decay: must be at least 0, not -1"),
        ("weight_decay: 1e-4", "weight_decay: small", "must be a number, not the text 'small'"),
        ("weight_decay: 1e-4", "weight_decay:", "optimizer.weight_decay: must be a number, not empty"),
        ("weight_decay: 1e-4", "weight_decay: '1e-4'", "must be a number, not the text '1e-4'"),
        ("epochs: 15", "epochs: 1.5", "schedule.epochs: must be a whole number, not 1.5"),
        ("epochs: 15", "epochs: 0", "schedule.epochs: must be at least 1, not 0"),
        ("epochs: 15", "epochs: true", "schedule.epochs: must be a whole number, not true"),
        ("max_lr: null", "max_lr: 1e6", "schedule.max_lr: must be at most 1000, not 1e+06"),
        ("resnet8", "resnet9000", "model.architecture: must be resnet8, "),
        ("architecture: resnet8", "architecture: resnet-20", "did you mean 'resnet20'?"),
        ("max_lr: null", "max_lr: [1e-4]", "schedule.max_lr: a list holds two numbers, of the first layer group and"),
        ("max_lr: null", "max_lr: [1e-4, x]", "schedule.max_lr.1: must be a number, not the text 'x'"),
        ("max_lr: null", "max_lr: {body: 0, head: 1}", "schedule.max_lr.body: must be above 0, not 0"),
        ("max_lr: null", "max_lr: {body: 1}", "schedule.max_lr.head: is missing"),
        ("max_lr: null", "max_lr: {heda: 1, body: 1}", "schedule.max_lr.heda: is not a field; did you mean 'head'?"),
        ("architecture: resnet8", "architecture: resnet50", "resnet50 is torchvision's: set model.source to"),
        ("width: 1", "width: 1\n  pretrained: true", "model.pretrained is for torchvision's networks"),
        ("width: 1", "width: 1\n  source: torchvision", "torchvision has resnet18, resnet34, resnet50, but no resnet8"),
        ("name: digits", "name: ../digits", "name: cannot be the text '../digits'"),
        ("device: auto", "device: gpu", "runtime.device: cannot be the text 'gpu': it is auto, cpu"),
        ("seed: 0", "seed: -1", "seed: must be at least 0, not -1"),
        ("mean: null", "mean: [125.3]", "data.mean must be from 0 to 1"),
        ("base_momentum: 0.85", "base_momentum: 0.99", "schedule.base_momentum is above schedule.max_momentum"),
        ("pct_start: 0.43", "pct_start: 0.6", "schedule.pct_start must be at most 0.5"),
        ("pct_start: 0.43", "gamma: 0.1", "policy one_cycle needs either schedule.pct_start or schedule.legs"),
        ("pct_start: 0.43", "pct_start: 0.43\n  legs: [5, 5, 5]", "either schedule.pct_start or schedule.legs"),
        ("pct_start: 0.43", "legs: [5, 5, 6]", "schedule.legs adds up to 16, but schedule.epochs is 15"),
        ("pct_start: 0.43", "legs: [7, 8]", "schedule.legs has 2 numbers, but shape blog has 3 legs"),
        ("pct_start: 0.43", "legs: [7, 0, 8]", "schedule.legs.1: must be above 0, not 0"),
        ("shape: blog", "", "policy one_cycle needs schedule.shape"),
        ("policy: one_cycle", "policy: triangular", "either schedule.step_size or schedule.step_size_epochs"),
        (
            "policy: one_cycle",
            "policy: triangular\n  step_size: 9\n  mode: exp_range",
            "mode exp_range needs schedule.gamma",
        ),
        ("policy: one_cycle", "policy: multistep", "multistep needs schedule.milestones and schedule.gamma"),
        (
            "policy: one_cycle",
            "policy: multistep\n  gamma: 0.1\n  milestones: [15]",
            "schedule.milestones must be below schedule.epochs, 15",
        ),
        ("epochs: 15", "epochs: 15\n  start_epoch: 15", "schedule.start_epoch must be below schedule.epochs, 15"),
        ("policy: one_cycle", "policy: cosin", "did you mean 'cosine'?"),
        ("end_lr: 10", "end_lr: 1e-5", "find_lr.end_lr must be above find_lr.start_lr"),
        ("source: digits", "source: image_folder", "source image_folder needs data.path"),
        ("mean: null ", "mean: [0.1, 0.2, 0.3] ", "data.mean has 3 numbers, but data.channels is 1"),
        ("std: null", "std: [0]", "data.std must be above 0"),
        ("[1e-2, 1e-3, 1e-4]", "[1e-2, 1e-2]", "holds the same value twice"),
        ("[1e-2, 1e-3, 1e-4]", "1e-2", "sweep_wd.weight_decays: must be a list"),
        ("horizontal_flip: false", "horizontal_flip: 0", "data.horizontal_flip: must be true or false, not 0"),
        ("  epochs: 15\n", "", "schedule.epochs: is missing"),
    ],
)
def test_a_wrong_field_is_refused_by_name_with_its_line(old: str, new: str, says: str) -> None:
    what = refused(changed(old, new))
    assert says in what
    assert "one field cannot be used" in what
    assert "line " in what


@pytest.mark.parametrize(
    ("text", "max_lr", "largest"),
    [
        ("null", None, None),
        ("1e-2", 0.01, 0.01),
        ("[1e-4, 1e-2]", (1e-4, 1e-2), 0.01),
        ("{body: 1, head: 0.1}", BodyAndHead(body=1, head=0.1), 1.0),
    ],
)
def test_a_max_lr_has_several_forms(text: str, max_lr: object, largest: float | None) -> None:
    schedule = parse(changed("max_lr: null", f"max_lr: {text}"), "my.yaml").schedule
    assert (schedule.max_lr, schedule.largest_max_lr) == (max_lr, largest)
    assert parse(DIGITS, "my.yaml", [override("schedule.max_lr", text)]).schedule == schedule


FINE_TUNE = """fine_tune:
  stages:
    - {freeze_to: head, epochs: 5, max_lr: 0.1}
    - freeze_to: null
      epochs: 10
      max_lr:
        body: 1e-3
        head: 1e-2

find_lr:"""


def test_stages_are_read_and_come_back_from_yaml() -> None:
    recipe = parse(changed("find_lr:", FINE_TUNE), "my.yaml")
    assert recipe.fine_tune == FineTune(
        stages=(
            Stage(freeze_to="head", epochs=5, max_lr=0.1),
            Stage(epochs=10, max_lr=BodyAndHead(body=1e-3, head=1e-2)),
        )
    )
    assert parse(to_yaml(recipe), "again.yaml") == recipe
    assert parse(DIGITS, "my.yaml", [override("fine_tune.stages", "[{epochs: 15}]")]).fine_tune.stages[0].epochs == 15


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("epochs: 15", "epochs: 14", "fine_tune.stages add up to 15 epochs, but schedule.epochs is 14"),
        ("freeze_to: head", "freeze_to: layer4", "freeze_to layer4, but resnet8 has stem, layer1,"),
        ("freeze_to: head", "freeze_to: haed", "stages.0.freeze_to: must be layer1, layer2, layer3,"),
        ("pct_start: 0.43", "legs: [6, 6, 3]", "schedule.legs counts epochs of a single cycle"),
        ("body: 1e-3", "body: 0", "fine_tune.stages.1.max_lr.body: must be above 0, not 0"),
        ("      epochs: 10", "      epoch: 10", "stages.1.epoch: is not a field; did you mean 'epochs'?"),
        ("      epochs: 10", "      epochs: x", "stages.1.epochs: must be a whole number, not the text 'x'"),
        ("      epochs: 10", "      epochs: 10\n      epochs: 9", "'epochs' stands here a second time"),
    ],
)
def test_stages_that_do_not_fit_are_refused(old: str, new: str, says: str) -> None:
    text = changed("find_lr:", FINE_TUNE)
    assert old in text
    assert says in refused(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("channels: 3", "channels: 1", "data.channels must be 3 for model.source torchvision"),
        ("width: 1", "width: 0.5", "model.width must be 1 and model.shortcut B"),
        ("shortcut: B", "shortcut: A", "model.width must be 1 and model.shortcut B"),
        ("dropout: 0", "dropout: 0\n  init: runs/x", "model.pretrained and model.init both say what to start from"),
    ],
)
def test_a_torchvision_network_is_as_it_is(old: str, new: str, says: str) -> None:
    text = changed("architecture: resnet8", "architecture: resnet50\n  source: torchvision\n  pretrained: true")
    text = text.replace("channels: 1", "channels: 3")
    assert parse(text, "my.yaml").model.groups == ("stem", "layer1", "layer2", "layer3", "layer4", "head")
    assert says in refused(text.replace(old, new))


def test_no_stages_are_no_fine_tuning() -> None:
    assert "fine_tune.stages is empty" in refused(DIGITS, override("fine_tune.stages", "[]"))


def test_a_field_in_a_section_in_a_section_has_its_own_line() -> None:
    what = refused(changed("  max_lr: null", "  max_lr:\n    body: 1\n    head: -1"))
    line = 3 + DIGITS[: DIGITS.index("  max_lr: null")].count("\n")
    assert f"line {line}  schedule.max_lr.head: must be above 0, not -1" in what


def test_all_errors_are_told_at_once_each_with_its_own_line() -> None:
    text = DIGITS.replace("seed: 0", "seed: x").replace("epochs: 15", "epochs: x").replace("width: 1", "widht: 1")
    lines = {name: 1 + text[: text.index(name)].count("\n") for name in ("seed: x", "epochs: x", "widht: 1")}
    what = refused(text)
    assert "3 fields cannot be used" in what
    for line, field in zip(lines.values(), ("seed", "schedule.epochs", "model.widht"), strict=True):
        assert any(row.split()[:3] == ["line", str(line), f"{field}:"] for row in what.splitlines()), (line, field)


def test_a_missing_field_has_the_line_of_its_section() -> None:
    what = refused(DIGITS.replace("  epochs: 15\n", ""))
    line = 1 + DIGITS[: DIGITS.index("schedule:")].count("\n")
    assert f"line {line}  schedule.epochs: is missing" in what


def test_a_misspelt_field_is_not_told_as_missing_too() -> None:
    assert "missing" not in refused(changed("weight_decay: 1e-4", "weigth_decay: 1e-4"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not hold the sections of a recipe"),
        ("- 1\n- 2\n", "does not hold the sections of a recipe"),
        ("a: [1, 2\n", "not readable as YAML"),
        ("a:\n\tb: 1\n", "line 2: not readable as YAML"),
        ("a: 1\nb: 2\na: 3\n", "line 3: not readable as YAML: 'a' stands here a second time"),
        ("a: !!python/object/apply:os.getcwd []\n", "not readable as YAML"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_line(text: str, says: str) -> None:
    assert says in refused(text)


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n}, ' * 9}]\n" for n in range(99))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "line 2: not readable as YAML: *a0 stands for a list or a section"),
        (f"{BOMB}{DIGITS.replace('channels: 1', 'channels: *a99')}", "line 2: not readable as YAML: *a0 stands for"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", "line 3: not readable as YAML: *a stands for a list or a section"),
        ("a: &a\n  b: *a\n", "line 2: not readable as YAML: *a stands for a list or a section"),
    ],
)
def test_aliases_make_neither_billions_of_values_nor_circles(text: str, says: str) -> None:
    assert says in refused(text)


def test_an_alias_may_stand_for_a_single_value() -> None:
    text = DIGITS.replace("max_lr: null", "max_lr: &lr 0.5").replace("end_lr: 10", "end_lr: *lr")
    recipe = parse(text, "my.yaml")
    assert recipe.schedule.max_lr == recipe.find_lr.end_lr == 0.5


def test_a_file_of_a_hundred_megabytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "my.yaml").open("wb") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(InputError, match="more than 1,048,576 bytes, so it is no recipe"):
        load(tmp_path / "my.yaml")


def numeric_fields(model: type[BaseModel], section: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type(BaseModel)):
            yield from numeric_fields(field.annotation, f"{section}{name}.")
        elif {"int", "float"} & set(re.findall(r"\w+", str(field.annotation))):
            yield f"{section}{name}"


NUMERIC = list(numeric_fields(Recipe))
MAY_BE_ZERO = {
    *("seed", "data.valid_fraction", "data.padding", "model.dropout", "runtime.checkpoint_seconds"),
    *("optimizer.weight_decay", "optimizer.label_smoothing", "optimizer.beta2"),
    *("schedule.base_momentum", "schedule.start_epoch", "find_lr.momentum", "find_lr.smoothing"),
}


@pytest.mark.parametrize("number", ["-1", "-1e300", "1e300", "9" * 30, "0"])
@pytest.mark.parametrize("field", NUMERIC)
def test_a_number_that_makes_no_sense_is_refused_in_every_field(field: str, number: str) -> None:
    if number == "0" and field in MAY_BE_ZERO:
        parse(DIGITS, "my.yaml", [override(field, number)])
        return
    assert field in refused(DIGITS, override(field, number))


def test_the_numeric_fields_are_found() -> None:
    assert len(NUMERIC) > 30
    assert set(NUMERIC) >= MAY_BE_ZERO | {"schedule.max_lr", "schedule.legs", "sweep_wd.weight_decays"}


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(InputError, match="not text in UTF-8"):
        load(tmp_path / "my.yaml")


def test_an_override_is_put_over_the_file() -> None:
    recipe = parse(DIGITS, "my.yaml", [override("schedule.max_lr", "1e-2"), override("name", "mine")])
    assert recipe.schedule.max_lr == 0.01
    assert recipe.name == "mine"


@pytest.mark.parametrize(
    ("field", "text", "says"),
    [
        ("schedule.max_lr", "fast", "--set schedule.max_lr=fast  schedule.max_lr: must be a number"),
        ("schedul.max_lr", "1", "there is no section 'schedul'; did you mean 'schedule'?"),
        ("schedule.maxlr", "1", "schedule.maxlr: is not a field; did you mean 'max_lr'?"),
        ("seed.x", "1", "there is no section 'seed'"),
        ("schedule.max_lr", "[", "is not readable as YAML"),
        ("schedule", "1", "schedule: must be a section with fields, not 1"),
    ],
)
def test_a_wrong_override_is_refused_with_its_flag(field: str, text: str, says: str) -> None:
    assert says in refused(DIGITS, override(field, text))


def test_a_relative_path_is_kept_whole_and_from_the_current_folder(tmp_path: Path) -> None:
    overrides = [override("data.source", "image_folder"), override("data.path", "photos")]
    assert parse(DIGITS, "my.yaml", overrides).data.path == str(tmp_path / "photos")
    assert parse(DIGITS, "my.yaml", [override("model.init", "2024")]).model.init == str(tmp_path / "2024")


def test_values_replaced_by_name_are_validated_again() -> None:
    recipe = with_values(parse(DIGITS, "my.yaml"), {"schedule.max_lr": 0.5, "seed": 3})
    assert (recipe.schedule.max_lr, recipe.seed) == (0.5, 3)
    with pytest.raises(ValueError, match="max_lr"):
        with_values(recipe, {"schedule.max_lr": -1.0})


@pytest.mark.parametrize("text", ["\x85", "a\u2028b", "a\u2029 b", "two\nlines", "größe: 1e-4"])
def test_a_text_comes_back_with_whatever_line_breaks_it_has(text: str) -> None:
    recipe = with_values(parse(DIGITS, "my.yaml"), {"description": text})
    assert parse(to_yaml(recipe), "again.yaml").description == text


@given(
    max_lr=st.none()
    | (lrs := st.floats(1e-12, 1000))
    | st.tuples(lrs, lrs)
    | st.builds(lambda body, head: {"body": body, "head": head}, lrs, lrs),
    weight_decay=st.floats(0, 1),
    eps=st.floats(1e-300, 1),
    description=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"])),
    weight_decays=st.lists(st.floats(0, 1), min_size=1, max_size=5, unique=True),
)
def test_a_recipe_written_as_yaml_loads_again_unchanged(
    max_lr: object, weight_decay: float, eps: float, description: str, weight_decays: list[float]
) -> None:
    recipe = with_values(
        parse(DIGITS, "my.yaml"),
        {
            "schedule.max_lr": max_lr,
            "optimizer.weight_decay": weight_decay,
            "optimizer.eps": eps,
            "description": description,
            "sweep_wd.weight_decays": weight_decays,
        },
    )
    assert parse(to_yaml(recipe), "again.yaml") == recipe


def test_what_is_absent_by_default_is_not_written() -> None:
    written = to_yaml(parse(DIGITS, "my.yaml"))
    assert "legs" not in written
    assert "max_lr: null" in written  # absent, but not by default


@given(
    text=st.text(max_size=200)
    | st.sampled_from(["a: *x", "&a [*a]", "? [1]\n: 2", "1: 2", "{}: 1", "a: 2024-13-45", "&a {b: *a}"])
)
def test_no_text_whatever_gives_anything_but_a_recipe_or_an_error_for_people(text: str) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(parse(text, "fuzz.yaml"), Recipe)


def test_a_section_with_a_default_need_not_be_there_to_be_overridden() -> None:
    text = DIGITS[: DIGITS.index("runtime:")]
    assert parse(text, "my.yaml", [override("runtime.device", "cpu")]).runtime.device == "cpu"
    assert "there is no section 'seed'" in refused(text, override("seed.x", "1"))


def test_texts_are_taken_from_the_command_line_as_they_stand() -> None:
    recipe = parse(DIGITS, "my.yaml", [override("data.path", "2024 #1"), override("description", "1e-4: yes")])
    assert (Path(recipe.data.path).name, recipe.description) == ("2024 #1", "1e-4: yes")
    again = parse(to_yaml(with_values(recipe, {"description": "1e4"})), "again.yaml")
    assert again.description == "1e4"


@pytest.mark.parametrize("value", ["2024-02-30", "0x_", "[1", "!!python/object:x"])
def test_a_value_on_the_command_line_that_is_no_yaml_is_told(value: str) -> None:
    assert "is not readable as YAML" in refused(DIGITS, override("optimizer.weight_decay", value))


def test_choices_are_the_values_of_one_field() -> None:
    assert choices("optimizer.weight_decay=1e-2,1e-3", "--param") == ("optimizer.weight_decay", [0.01, 0.001])
    assert choices("schedule.legs=[1, 2, 3],[2,2,2]", "--param") == ("schedule.legs", [[1, 2, 3], [2, 2, 2]])
    assert choices("schedule.max_lr=null,0.1", "--param") == ("schedule.max_lr", [None, 0.1])


def test_a_recipe_is_varied_by_values_and_checked_again() -> None:
    recipe = parse(DIGITS, "my.yaml")
    assert varied(recipe, {"model.width": 2, "seed": 4}, "my.yaml").model.width == 2
    assert varied(recipe, {"data.path": "photos"}, "my.yaml").data.path == str(Path("photos").absolute())
    with pytest.raises(InputError, match="my.yaml: one field cannot.*\n  schedule.epochs=0  schedule.epochs"):
        varied(recipe, {"schedule.epochs": 0}, "my.yaml")


def test_a_recipe_is_read_by_dotted_names_with_its_defaults() -> None:
    values = dotted_values(shipped_path("digits"))
    assert (values["seed"], values["optimizer.weight_decay"]) == (0, 1e-4)
    assert "beta2" not in DIGITS
    assert values["optimizer.beta2"] == 0.999


def test_what_stands_in_a_file_is_read_by_dotted_names_though_it_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(
        "seed: 1\nmodel: resnet\noptimizer:\n  lr: 1e-3\n  betas: [0.9, 1e0]\nempty: {}\n"
    )
    assert dotted_values(tmp_path / "old.yaml") == {
        "seed": 1,
        "model": "resnet",
        "optimizer.lr": 0.001,
        "optimizer.betas": [0.9, 1.0],
    }


@pytest.mark.parametrize(("text", "says"), [("a: [", "not readable as YAML"), ("- 1\n", "does not hold the sections")])
def test_a_file_without_sections_has_no_dotted_names(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "old.yaml").write_text(text)
    with pytest.raises(InputError, match=says):
        dotted_values(tmp_path / "old.yaml")


def test_of_hundreds_of_wrong_fields_twenty_are_told_a_line_each() -> None:
    text = DIGITS + "".join(f"'more\\n{number}': 1\n" for number in range(100)) + f"{'x' * 500}: 1\n"
    text = text.replace("'", '"')
    *_, twentieth, more = refused(text).splitlines()
    assert twentieth.endswith("more\\n19: is not a field")
    assert more == "  and 81 more"
    assert f"{'x' * 100}...: is not a field" in refused(f"{'x' * 500}: 1\n{DIGITS}")


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{a: " * 5000, "seed: 0x" + "f" * 5000])
def test_what_is_too_deep_or_too_long_for_python_is_told(text: str) -> None:
    assert "not readable as YAML" in refused(text)
    assert "is not readable as YAML" in refused(DIGITS, override("seed", text.removeprefix("seed: ")))


@pytest.mark.parametrize("max_lr", ["[1e-310, 1]", "[1000, 1e-13]", "{body: 1e-310, head: 1}"])
def test_two_lrs_that_are_too_far_apart_are_told(max_lr: str) -> None:
    said = refused(DIGITS, override("schedule.max_lr", max_lr))
    assert "schedule.max_lr" in said
    assert "are more than a factor of 1e+15 apart" in said
