"""Whatever stands in a recipe: it is one and stays one, or a person is told in a few lines what is wrong with it."""

import math
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from functools import reduce
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.planning import recipe_schedule
from onecycle_cli.recipe import (
    Override,
    Recipe,
    choices,
    curve_settings,
    lr_ratios,
    parse,
    result_settings,
    shipped_names,
    shipped_path,
    stages,
    to_yaml,
    varied,
    with_largest_max_lr,
    with_values,
)
from onecycle_cli.recipe.fields import CHOICES

MOST_LINES = 24
"""What a terminal shows at once."""

TEXTS = {name: shipped_path(name).read_text() for name in shipped_names()}
SHIPPED = {name: parse(text, name).model_dump(mode="json") for name, text in TEXTS.items()}


def lists(inner: tuple[Any, ...], length: dict[str, int]) -> st.SearchStrategy[Any]:
    sizes: dict[str, Any] = {"max_size": 4} | {n: min(v, 4) for n, v in length.items()}
    return st.lists(values_of(inner[0]), **sizes)


def dictionaries(_inner: tuple[Any, ...], _length: dict[str, int]) -> st.SearchStrategy[Any]:
    """The arguments of a function of one's own: any JSON values."""
    return st.dictionaries(st.text(max_size=9), st.none() | st.integers() | st.text(max_size=9), max_size=3)


CONTAINERS: dict[Any, Any] = {tuple: lists, dict: dictionaries}


def values_of(annotation: Any, limits: tuple[object, ...] = ()) -> st.SearchStrategy[Any]:
    """What a field of this type may hold, within its limits, as YAML has it; not all of it need fit together."""
    within = {
        name: getattr(limit, name) for limit in limits for name in ("ge", "gt", "le", "lt") if hasattr(limit, name)
    }
    length = {
        name[:3] + "_size": getattr(limit, name)
        for limit in limits
        for name in ("min_length", "max_length")
        if hasattr(limit, name)
    }
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        found = [metadata for one in inner[1:] for metadata in (one.metadata if isinstance(one, FieldInfo) else [one])]
        return values_of(inner[0], (*limits, *found))
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, UnionType):
        return st.one_of([values_of(one, limits) for one in inner])
    if origin in CONTAINERS:
        return CONTAINERS[origin](inner, length)
    if isinstance(annotation, type(BaseModel)):
        return section(annotation)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        low, high = within.get("ge", within.get("gt", 0)), within.get("le", within.get("lt", 10**9))
        return st.integers(low, high).filter(lambda number: number != within.get("lt"))
    if annotation is float:
        excluded: dict[str, Any] = {"exclude_min": "gt" in within, "exclude_max": "lt" in within}
        low, high = within.get("ge", within.get("gt", 0)), within.get("le", within.get("lt", 1))
        return st.floats(low, high, **excluded) | st.floats(max(low, 1e-6), high, **excluded)
    if annotation is str:
        pattern = next(filter(None, (getattr(limit, "pattern", None) for limit in limits)), None)
        return st.from_regex(pattern, fullmatch=True) if pattern else st.text(max_size=30)
    assert annotation is type(None)
    return st.none()


def section(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: values_of(field.annotation, tuple(field.metadata)) for name, field in model.model_fields.items()}
    needed = {name: fields.pop(name) for name, field in model.model_fields.items() if field.is_required()}
    return st.fixed_dictionaries(needed, optional=fields)


def fields_of(model: type[BaseModel]) -> dict[tuple[str, ...], st.SearchStrategy[Any]]:
    """Every field of a recipe, in its sections and in all their variants, by the way to it."""
    found: dict[tuple[str, ...], st.SearchStrategy[Any]] = {}
    for name, field in model.model_fields.items():
        if name in CHOICES:
            for variant in CHOICES[name].variants:
                for (inner,), values in fields_of(variant).items():
                    found[name, inner] = found.get((name, inner), st.nothing()) | values
        elif isinstance(field.annotation, type(BaseModel)):
            found |= {(name, *rest): values for rest, values in fields_of(field.annotation).items()}
        else:
            found[name,] = values_of(field.annotation, tuple(field.metadata))
    return found


FIELDS = fields_of(Recipe)
POLICIES: list[dict[str, Any]] = [
    {},
    {"shape": "smith"},
    {"shape": "torch"},
    {"shape": "torch", "three_phase": True},
    {"shape": "fastai"},
    {"policy": "triangular", "step_size": 7},
    {"policy": "triangular", "step_size_epochs": 0.3, "mode": "triangular2"},
    {"policy": "triangular", "step_size": 7, "mode": "exp_range", "gamma": 0.999},
    {"policy": "constant"},
    {"policy": "multistep", "milestones": [1], "gamma": 0.1},
    {"policy": "cosine"},
]


def put(values: dict[str, Any], field: tuple[str, ...], value: Any) -> None:
    *sections, name = field
    reduce(lambda inner, section: inner[section], sections, values)[name] = value


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """A shipped recipe under any policy, with any values that are allowed in some of its fields."""
    recipe = Recipe.model_validate(SHIPPED[draw(st.sampled_from(sorted(SHIPPED)))])
    values = {f"schedule.{name}": value for name, value in draw(st.sampled_from(POLICIES)).items()}
    for field in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=6, unique=True)):
        values[".".join(field)] = draw(FIELDS[field])
    try:
        return with_values(recipe, values)
    except ValidationError:
        assume(False)
        raise


def told(error: InputError) -> None:
    assert len(str(error).splitlines()) <= MOST_LINES
    assert error.what
    assert error.fix


def read(text: str, overrides: tuple[Override, ...] = ()) -> None:
    """Reads what may be no recipe: anything but a recipe or an error for people is raised."""
    try:
        assert isinstance(parse(text, "fuzz.yaml", overrides), Recipe)
    except InputError as error:
        told(error)


@given(recipes())
def test_any_recipe_that_is_allowed_comes_back_from_its_yaml(recipe: Recipe) -> None:
    read_once = parse(to_yaml(recipe), "once.yaml")  # with whole paths
    assert parse(to_yaml(read_once), "twice.yaml") == read_once
    paths = {"data": {"path"}, "model": {"init", "weights", "function"}}
    assert read_once.model_dump(exclude=paths) == recipe.model_dump(exclude=paths)


@given(recipes())
def test_any_recipe_has_settings_stages_and_ratios(recipe: Recipe) -> None:
    for settings in (curve_settings(recipe, "float32"), result_settings(recipe, "float32")):
        assert settings["runtime.precision"] == "float32"
    for stage in stages(recipe):
        assert 0 < max(lr_ratios(stage.schedule.max_lr, ("stem", "layer1", "head")).values()) <= 1
    assert stages(with_largest_max_lr(recipe, 0.5))[-1].schedule.largest_max_lr == pytest.approx(0.5)


@given(recipes(), st.integers(1, 60), st.floats(1e-6, 10))
def test_the_schedule_of_any_recipe_stays_within_its_bounds(recipe: Recipe, per_epoch: int, max_lr: float) -> None:
    recipe = with_largest_max_lr(recipe, max_lr)
    assume(all(stage.schedule.max_lr is not None for stage in stages(recipe)))
    try:
        schedule = recipe_schedule(recipe, per_epoch)
    except InputError as error:
        told(error)
        return
    first = 0
    for stage in stages(recipe):
        settings, steps = stage.schedule, stage.schedule.epochs * per_epoch
        most, slack = settings.largest_max_lr, 1e-9
        low = settings.start_divisor * getattr(settings, "final_div_factor", 1)
        if settings.policy == "multistep":
            low = math.inf
        some = {*range(min(steps, 50)), *range(max(0, steps - 50), steps), *range(0, steps, max(1, steps // 50))}
        for step in sorted(some):
            lr, momentum = schedule(first + step)
            assert most / low * (1 - slack) <= lr <= most * (1 + slack), (step, steps)
            assert settings.at_peak - slack <= momentum <= settings.max_momentum + slack, (step, steps)
        first += steps
    assert math.isfinite(schedule(first).lr)


NAMES = sorted({name for field in FIELDS for name in field})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=10)
    | st.sampled_from(["cuda:1", "sgd", "1e-4", "~", "~nobody", "0x" + "f" * 5000, "a\nb", "\x1b[31m"])
)
KEYS = st.sampled_from(NAMES) | st.text(max_size=20) | st.integers() | st.booleans() | st.none() | st.dates()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=8), max_leaves=30
)


@given(ANYTHING)
def test_any_value_as_a_whole_recipe_is_told(value: Any) -> None:
    read(yaml.safe_dump(value))


@given(st.sampled_from(sorted(SHIPPED)), st.lists(st.tuples(st.sampled_from(sorted(FIELDS)), ANYTHING), max_size=3))
def test_any_value_in_any_field_is_taken_or_told(name: str, changes: list) -> None:
    values = deepcopy(SHIPPED[name])
    for field, value in changes:
        put(values, field, value)
    read(yaml.safe_dump(values))
    with suppress(InputError):
        varied(parse(TEXTS[name], name), {".".join(field): value for field, value in changes}, "--param")


@given(
    st.sampled_from(sorted(SHIPPED)),
    st.dictionaries(KEYS, ANYTHING, max_size=200),
    st.sampled_from(["", *SHIPPED["digits"]]),
)
@example("digits", {f"more{number}": 1 for number in range(200)}, "")
@example("digits", {f"more{number}": 1 for number in range(200)}, "data")
@example("digits", {f"more\n{number}": 1 for number in range(30)}, "data")
@example("digits", {"x" * 3000: 1}, "data")
@example("digits", {"weight_decays": ["a"] * 100}, "sweep_wd")
@example("digits", {"stages": [{}] * 100}, "fine_tune")
@example("digits", {"fine_tune": {"stages": [{}] * 100}}, "")
def test_any_number_of_fields_that_are_none_is_told_in_a_few_lines(name: str, more: Mapping, where: str) -> None:
    values: dict[Any, Any] = deepcopy(SHIPPED[name])
    target = values.get(where)
    (target if isinstance(target, dict) else values).update(more)
    read(yaml.safe_dump(values))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A shipped recipe with some lines dropped, doubled, moved or indented, and some characters changed."""
    lines = TEXTS[draw(st.sampled_from(sorted(TEXTS)))].splitlines()
    lines = [line for line in lines if line.partition("#")[0].strip()]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        cut = draw(st.integers(0, len(line)))
        change = draw(st.sampled_from(["drop", "double", "swap", "indent", "insert", "replace", "cut"]))
        more = draw(st.text(max_size=3) | st.sampled_from(list(":-[]{}&*!|>'\"%@`#,?\t")))
        lines[at : at + 1] = {
            "drop": [],
            "double": [line, line],
            "swap": [*lines[at + 1 : at + 2], line],
            "indent": [f" {line}"],
            "insert": [line[:cut] + more + line[cut:]],
            "replace": [line[:cut] + more + line[cut + 1 :]],
            "cut": [line[:cut]],
        }[change]
    return "\n".join(lines)


@given(mutated())
def test_any_slip_of_the_pen_in_a_recipe_is_taken_or_told(text: str) -> None:
    read(text)


@given(st.text(alphabet=st.sampled_from(list("ab01:-[]{}&*!|>'\"%@`#,?\t\n .~<=")), max_size=60) | st.text(max_size=60))
@example("[" * 5000)
@example("a: " + "{a: " * 5000)
@example("- " * 5000)
@example("data: 0x" + "f" * 5000)
@example("seed: " + "9" * 5000)
@example("seed: 0x" + "f" * 5000)
@example("? a\n? b\n")
@example("<<: 1")
@example("data: {<<: [1]}")
@example("=: 1")
@example("data: !!python/name:os.system")
@example("data: !!set {a}\nmodel: !!omap [a: 1]\nseed: !!binary aGk=\nname: !!timestamp 2024-01-01")
def test_any_text_is_a_recipe_or_told(text: str) -> None:
    read(text)


OVERRIDES = st.builds(
    Override,
    st.sampled_from([".".join(field) for field in FIELDS])
    | st.lists(st.sampled_from([*NAMES, ""]), max_size=4).map(".".join)
    | st.text(max_size=20),
    st.text(max_size=20) | mutated() | SCALARS.map(str) | ANYTHING.map(yaml.safe_dump) | st.just("[" * 500),
    st.just("--set"),
)


@given(st.sampled_from(sorted(TEXTS)), st.lists(OVERRIDES, max_size=4))
def test_any_override_is_taken_or_told(name: str, overrides: list[Override]) -> None:
    read(TEXTS[name], tuple(overrides))


@given(
    st.builds(
        "{}={}".format,
        st.sampled_from([".".join(field) for field in FIELDS]),
        st.text(max_size=30) | ANYTHING.map(yaml.safe_dump),
    )
    | st.text(max_size=30)
)
@example("a=" + "[" * 5000)
def test_any_choice_of_values_is_taken_or_told(text: str) -> None:
    try:
        field, values = choices(text, "--param")
    except InputError as error:
        told(error)
        return
    assert field
    assert isinstance(values, list)
