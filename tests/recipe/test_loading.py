"""YAML and overrides in, a recipe out; what cannot be one is refused. The words for it: test_problems.py."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import (
    BodyAndHead,
    FineTuneSettings,
    Override,
    Recipe,
    StageSettings,
    choices,
    dotted_values,
    load,
    parse,
    shipped_path,
    to_yaml,
    varied,
    with_values,
)
from onecycle_cli.recipe.data_fields import DigitsSettings
from onecycle_cli.recipe.model_fields import OnecycleModelSettings
from onecycle_cli.recipe.schedule_fields import CyclicSettings

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


@pytest.mark.parametrize("text", ["1e4", "1.0e4", "1e+4", "10000"])
def test_a_whole_number_may_be_written_with_an_exponent(text: str) -> None:
    assert parse(changed("epochs: 15", f"epochs: {text}"), "my.yaml").schedule.epochs == 10_000


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
    assert recipe.fine_tune == FineTuneSettings(
        stages=(
            StageSettings(freeze_to="head", epochs=5, max_lr=0.1),
            StageSettings(epochs=10, max_lr=BodyAndHead(body=1e-3, head=1e-2)),
        )
    )
    assert parse(to_yaml(recipe), "again.yaml") == recipe
    assert parse(DIGITS, "my.yaml", [override("fine_tune.stages", "[{epochs: 15}]")]).fine_tune.stages[0].epochs == 15


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("epochs: 15", "epochs: 14", "fine_tune.stages add up to 15 epochs, but schedule.epochs is 14"),
        ("freeze_to: head", "freeze_to: haed", "stages.0.freeze_to: must be layer1, layer2 and so on, or head, not"),
        ("pct_start: 0.43", "legs: [6, 6, 3]", "schedule.legs counts epochs of a single cycle"),
        ("body: 1e-3", "body: 0", "fine_tune.stages.1.max_lr.body: must be above 0, not 0"),
        ("      epochs: 10", "      epoch: 10", "stages.1.epoch: is not a field; did you mean 'epochs'?"),
        ("      epochs: 10", "      epochs: x", "stages.1.epochs: must be a whole number, not the text 'x'"),
        ("      epochs: 10", "      epochs: 10\n      epochs: 9", "'epochs' appears here a second time"),
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
        ("width: 1", "width: 0.5", "model.width: is a field of source onecycle, not of torchvision: leave it out, or"),
        ("shortcut: B", "shortcut: A", "model.shortcut: is a field of source onecycle, not of torchvision"),
        ("dropout: 0", "dropout: 0\n  init: runs/x", "model.pretrained and model.init both choose the initial weights"),
    ],
)
def test_a_torchvision_network_is_as_it_is(old: str, new: str, says: str) -> None:
    # Older versions asked for a width of 1 and shortcut B here, which changed nothing.
    text = changed("architecture: resnet8", "architecture: resnet50\n  source: torchvision\n  pretrained: true")
    text = text.replace("channels: 1", "channels: 3")
    assert "width" not in to_yaml(parse(text, "my.yaml"))
    assert says in refused(text.replace(old, new))


def test_no_stages_are_no_fine_tuning() -> None:
    assert "fine_tune.stages is empty" in refused(DIGITS, override("fine_tune.stages", "[]"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not contain the sections of a recipe"),
        ("- 1\n- 2\n", "does not contain the sections of a recipe"),
        ("a: [1, 2\n", "not readable as YAML"),
        ("a:\n\tb: 1\n", "line 2: not readable as YAML"),
        ("a: 1\nb: 2\na: 3\n", "line 3: not readable as YAML: 'a' appears here a second time"),
        ("a: !!python/object/apply:os.getcwd []\n", "not readable as YAML"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_line(text: str, says: str) -> None:
    assert says in refused(text)


def test_a_file_of_a_hundred_megabytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "my.yaml").open("wb") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(InputError, match="more than 1,048,576 bytes, so it is not a recipe"):
        load(tmp_path / "my.yaml")


def numeric_fields(model: type[BaseModel], section: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type(BaseModel)):
            yield from numeric_fields(field.annotation, f"{section}{name}.")
        elif {"int", "float"} & set(re.findall(r"\w+", str(field.annotation))):
            yield f"{section}{name}"


POLICIES = {
    "blog": {},
    "torch": {"shape": "torch"},
    "triangular": {"policy": "triangular", "step_size_epochs": "2"},
    "exp_range": {"policy": "triangular", "step_size": "9", "mode": "exp_range", "gamma": "0.9"},
    "multistep": {"policy": "multistep", "milestones": "[5]", "gamma": "0.1"},
    "cosine": {"policy": "cosine"},
}


def under(policy: str) -> list[Override]:
    return [override(f"schedule.{name}", text) for name, text in POLICIES[policy].items()]


SCHEDULES = {policy: type(parse(DIGITS, "my.yaml", under(policy)).schedule) for policy in POLICIES}
NUMERIC = [("blog", field) for field in numeric_fields(Recipe)]
NUMERIC += [("blog", field) for field in numeric_fields(DigitsSettings, "data.")]
NUMERIC += [("blog", field) for field in numeric_fields(OnecycleModelSettings, "model.")]
NUMERIC += [(policy, field) for policy, model in SCHEDULES.items() for field in numeric_fields(model, "schedule.")]
MAY_BE_ZERO = {
    *("seed", "data.valid_fraction", "data.padding", "model.dropout", "runtime.checkpoint_seconds"),
    *("optimizer.weight_decay", "optimizer.label_smoothing", "optimizer.beta2"),
    *("schedule.base_momentum", "schedule.start_epoch", "find_lr.momentum", "find_lr.smoothing"),
}


@pytest.mark.parametrize("number", ["-1", "-1e300", "1e300", "9" * 30, "0"])
@pytest.mark.parametrize(("policy", "field"), NUMERIC)
def test_a_number_that_makes_no_sense_is_refused_in_every_field(policy: str, field: str, number: str) -> None:
    given = [*(one for one in under(policy) if one.field != field), override(field, number)]
    is_any_momentum = field == "schedule.max_momentum" and not issubclass(SCHEDULES[policy], CyclicSettings)
    if number == "0" and (field in MAY_BE_ZERO or is_any_momentum):
        parse(DIGITS, "my.yaml", given)
        return
    assert field in refused(DIGITS, *given)


def test_the_numeric_fields_are_found() -> None:
    fields = {field for _, field in NUMERIC}
    assert len(fields) > 30
    assert fields >= MAY_BE_ZERO | {"schedule.max_lr", "schedule.legs", "sweep_wd.weight_decays"}
    assert ("multistep", "schedule.gamma") in NUMERIC


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


def path_of(recipe: Recipe) -> str:
    """The path of the images, which some sources alone have."""
    path: str = recipe.data.model_dump()["path"]
    return path


def test_a_relative_path_is_kept_whole_and_from_the_current_folder(tmp_path: Path) -> None:
    overrides = [override("data.source", "image_folder"), override("data.path", "photos")]
    assert path_of(parse(DIGITS, "my.yaml", overrides)) == str(tmp_path / "photos")
    assert parse(DIGITS, "my.yaml", [override("model.init", "2024")]).model.init == str(tmp_path / "2024")


def test_values_replaced_by_name_are_validated_again() -> None:
    recipe = with_values(parse(DIGITS, "my.yaml"), {"schedule.max_lr": 0.5, "seed": 3})
    assert (recipe.schedule.max_lr, recipe.seed) == (0.5, 3)
    with pytest.raises(ValueError, match="max_lr"):
        with_values(recipe, {"schedule.max_lr": -1.0})


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
    overrides = [override("data.source", "image_folder"), override("data.path", "2024 #1")]
    recipe = parse(DIGITS, "my.yaml", [*overrides, override("description", "1e-4: yes")])
    assert (Path(path_of(recipe)).name, recipe.description) == ("2024 #1", "1e-4: yes")
    again = parse(to_yaml(with_values(recipe, {"description": "1e4"})), "again.yaml")
    assert again.description == "1e4"


@pytest.mark.parametrize("value", ["2024-02-30", "0x_", "[1", "!!python/object:x", "[" * 5000, "0x" + "f" * 5000])
def test_a_value_on_the_command_line_that_is_no_yaml_is_told(value: str) -> None:
    assert "is not readable as YAML" in refused(DIGITS, override("optimizer.weight_decay", value))


def changed_in(recipe: Recipe, other: Recipe) -> set[str]:
    one, two = (set(to_yaml(each).splitlines()) for each in (recipe, other))
    return {line.strip() for line in one ^ two}


def test_another_policy_on_the_command_line_leaves_out_what_the_file_has_for_its_own() -> None:
    recipe = parse(DIGITS, "my.yaml", [override("schedule.policy", "cosine")])
    kept = {"epochs": 15, "max_lr": None, "max_momentum": 0.95, "start_epoch": 0}
    # The last is a field of both.
    assert recipe.schedule.model_dump() == {"policy": "cosine"} | kept | {"final_div_factor": 100}
    assert parse(to_yaml(recipe), "again.yaml") == recipe


def test_another_shape_on_the_command_line_leaves_out_what_the_file_has_for_its_own() -> None:
    torch = changed("shape: blog", "shape: torch\n  three_phase: true")
    recipe = parse(torch, "my.yaml", [override("schedule.shape", "fastai")])
    assert changed_in(recipe, parse(DIGITS, "my.yaml")) == {"shape: blog", "shape: fastai"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["schedule.policy=cosine", "schedule.legs=[5, 5, 5]"], "schedule.legs: is a field of policy one_cycle, not"),
        (["schedule.milestones=[5]"], "is a field of policy multistep, not of one_cycle: leave it out, or set sched"),
        (["schedule.policy=multistep"], "schedule.milestones: is missing, and policy multistep needs it"),
        (
            ["schedule.shape=blog", "schedule.three_phase=true"],
            "schedule.three_phase: is a field of shape torch, not",
        ),
        (["schedule.policy=one_cycle", "schedule.gamma=0.1"], "field of policy triangular or multistep, not of one"),
    ],
)
def test_a_field_of_another_policy_on_the_command_line_is_refused(given: list[str], says: str) -> None:
    what = refused(DIGITS, *(override(*setting.split("=")) for setting in given))
    assert says in what


def test_an_override_that_keeps_the_policy_keeps_the_errors_of_the_file() -> None:
    text = changed("shape: blog", "shape: blog\n  three_phase: true")
    what = refused(text, override("schedule.policy", "one_cycle"), override("schedule.shape", "blog"))
    assert "schedule.three_phase: is a field of shape torch" in what


def test_another_source_on_the_command_line_leaves_out_what_the_file_has_for_its_own() -> None:
    given = [override("model.source", "torchvision"), override("data.channels", "3")]
    given.append(override("model.architecture", "resnet18"))
    text = changed("width: 1", "width: 2")
    model = parse(text, "my.yaml", given).model
    assert model.model_dump(exclude_defaults=True) == {
        "source": "torchvision",
        "architecture": "resnet18",
    }
    assert "model.width: is a field of source onecycle" in refused(text, *given, override("model.width", "2"))
    again = [override("model.source", "onecycle"), override("model.width", "0.5")]
    back = to_yaml(parse(text, "my.yaml", [*given, override("model.pretrained", "true")]))
    assert parse(back, "my.yaml", again).model.source == "onecycle"


def test_a_field_that_is_none_stays_an_error_under_another_policy() -> None:
    text = changed("shape: blog", "shape: blog\n  shpae: blog")
    assert "schedule.shpae: is not a field" in refused(text, override("schedule.policy", "cosine"))


def test_policies_and_shapes_are_varied_by_the_same_rule() -> None:
    recipe = parse(DIGITS, "my.yaml")
    for change in (lambda values: varied(recipe, values, "my.yaml"), lambda values: with_values(recipe, values)):
        assert change({"schedule.policy": "constant"}).schedule.form is None
        assert change({"schedule.shape": "torch"}).schedule.form == "torch"
        assert change({"schedule.policy": "one_cycle"}) == recipe
    with pytest.raises(InputError, match=r"schedule.pct_start=0.2  schedule.pct_start: is a field of policy one_cycle"):
        varied(recipe, {"schedule.policy": "cosine", "schedule.pct_start": 0.2}, "my.yaml")


def test_choices_are_the_values_of_one_field() -> None:
    assert choices("optimizer.weight_decay=1e-2,1e-3", "--param") == ("optimizer.weight_decay", [0.01, 0.001])
    assert choices("schedule.legs=[1, 2, 3],[2,2,2]", "--param") == ("schedule.legs", [[1, 2, 3], [2, 2, 2]])
    assert choices("schedule.max_lr=null,0.1", "--param") == ("schedule.max_lr", [None, 0.1])


def test_a_recipe_is_varied_by_values_and_checked_again() -> None:
    recipe = parse(DIGITS, "my.yaml")
    assert varied(recipe, {"model.dropout": 0.2, "seed": 4}, "my.yaml").model.dropout_before_head == 0.2
    photos = {"data.source": "image_folder", "data.path": "photos"}
    assert path_of(varied(recipe, photos, "my.yaml")) == str(Path("photos").absolute())
    with pytest.raises(InputError, match="my.yaml: one field is wrong.*\n  schedule.epochs=0  schedule.epochs"):
        varied(recipe, {"schedule.epochs": 0}, "my.yaml")


def test_a_recipe_is_read_by_dotted_names_with_its_defaults() -> None:
    values = dotted_values(shipped_path("digits"))
    assert (values["seed"], values["optimizer.weight_decay"]) == (0, 1e-4)
    assert "beta2" not in DIGITS
    assert values["optimizer.beta2"] == 0.999


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\\xff", b"a\nb", b"\x1b[2J", "中文 😀".encode()])
def test_a_path_of_any_bytes_is_written_as_utf8_and_read_back(tmp_path: Path, name: bytes) -> None:
    path = str(tmp_path / os.fsdecode(name))
    overrides = [override("data.source", "image_folder"), override("data.path", path), override("model.init", path)]
    recipe = parse(DIGITS, "my.yaml", overrides)
    assert (path_of(recipe), recipe.model.init) == (path, path)
    (tmp_path / "my.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    assert load(tmp_path / "my.yaml") == recipe
    assert dotted_values(tmp_path / "my.yaml")["data.path"] == path
    assert path_of(varied(recipe, {"data.path": path}, "my.yaml")) == path


@pytest.mark.parametrize(("value", "says"), [("3", "must be text, not 3"), ("''", "at least 1 character")])
def test_a_path_that_is_no_text_is_refused(value: str, says: str) -> None:
    text = DIGITS.replace("source: digits", f"source: image_folder\n  path: {value}", 1)
    with pytest.raises(InputError, match=says):
        parse(text, "my.yaml")


def test_a_folder_that_is_no_utf8_can_be_one_value_of_a_sweep() -> None:
    assert choices("data.path=a,\udcff", "--param ...") == ("data.path", ["a", "\udcff"])


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


@pytest.mark.parametrize(
    ("text", "says"), [("a: [", "not readable as YAML"), ("- 1\n", "does not contain the sections")]
)
def test_a_file_without_sections_has_no_dotted_names(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "old.yaml").write_text(text)
    with pytest.raises(InputError, match=says):
        dotted_values(tmp_path / "old.yaml")


@pytest.mark.parametrize("max_lr", ["[1e-310, 1]", "[1000, 1e-13]", "{body: 1e-310, head: 1}"])
def test_two_lrs_that_are_too_far_apart_are_told(max_lr: str) -> None:
    said = refused(DIGITS, override("schedule.max_lr", max_lr))
    assert "schedule.max_lr" in said
    assert "are more than a factor of 1e+15 apart" in said


def network(section: str) -> str:
    """The digits with another section `model`."""
    start, end = DIGITS.index("model:"), DIGITS.index("optimizer:")
    return DIGITS[:start] + section + "\n" + DIGITS[end:]


def test_a_function_in_a_file_gets_an_absolute_path_and_one_in_a_package_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = network("model: {source: module, function: nets/net.py:tiny, arguments: {width: 16}}")
    model: Any = parse(text, "my.yaml").model
    assert model.function == f"{tmp_path}/nets/net.py:tiny"
    assert model.arguments == {"width": 16}
    assert parse(to_yaml(parse(text, "my.yaml")), "again.yaml").model == model
    package: Any = parse(network("model: {source: module, function: my.package.nets:tiny}"), "my.yaml").model
    assert package.function == "my.package.nets:tiny"
    assert package.dropout_before_head == 0


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("model: {source: module}", "model.function: is missing, and source module needs it"),
        ("model: {source: module, function: net.py}", "model.function: must be path/to/file.py:name or"),
        ("model: {source: module, function: 'net.py:'}", "model.function: must be path/to/file.py:name or"),
        ("model: {source: module, function: 'net.py:f', dropout: 0.1}", "model.dropout: is a field of source"),
        ("model: {source: tim, architecture: resnet10t}", "did you mean 'timm'?"),
        ("model: {source: timm}", "model.architecture: is missing"),
        ("model: {source: timm, architecture: a, pretrained: true, weights: w.pth}", "each choose the initial weights"),
        ("model: {source: timm, architecture: a, weights: w.pth, init: runs/x}", "each choose the initial weights"),
        ("model: {source: timm, architecture: a, drop_path: 1}", "model.drop_path: must be below 1"),
    ],
)
def test_a_section_of_another_source_is_checked_field_by_field(section: str, says: str) -> None:
    assert says in refused(network(section))


def test_a_timm_network_may_have_any_channels_and_starts_trained_from_a_file_or_the_hub() -> None:
    plain: Any = parse(network("model: {source: timm, architecture: resnet10t}"), "my.yaml").model
    assert (plain.pretrained, plain.dropout, plain.starts_trained) == (False, 0, False)
    for more in ("pretrained: true", "weights: w.pth", "init: runs/x"):
        text = network(f"model: {{source: timm, architecture: resnet10t, {more}}}")
        assert parse(text, "my.yaml").model.starts_trained
