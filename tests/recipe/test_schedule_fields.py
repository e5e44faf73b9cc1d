"""Each policy and shape has fields of its own, and builds its own schedule."""

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import Recipe, load, parse, shipped_path, to_yaml, with_values

DIGITS = shipped_path("digits").read_text()
ONE_CYCLE = {"shape", "div_factor", "final_div_factor", "pct_start", "legs", "base_momentum"}
OWN = {
    "blog": ONE_CYCLE,
    "smith": ONE_CYCLE,
    "torch": ONE_CYCLE | {"anneal_strategy", "three_phase"},
    "fastai": ONE_CYCLE,
    "triangular": {"div_factor", "base_momentum", "step_size", "step_size_epochs", "mode", "gamma"},
    "constant": set(),
    "multistep": {"milestones", "gamma"},
    "cosine": {"final_div_factor"},
}
NEEDED: dict[str, dict[str, object]] = {
    "triangular": {"schedule.step_size_epochs": 2.0},
    "multistep": {"schedule.milestones": [2, 3], "schedule.gamma": 0.1},
}


def under(name: str) -> Recipe:
    """The digits under a policy, or under a shape of one cycle."""
    field = "schedule.shape" if "shape" in OWN[name] else "schedule.policy"
    values = {"schedule.max_lr": 1.0, "schedule.epochs": 4, field: name} | NEEDED.get(name, {})
    return with_values(load(shipped_path("digits")), values)


@pytest.mark.parametrize("name", OWN)
def test_a_variant_has_its_own_fields_and_those_of_all(name: str) -> None:
    fields = set(type(under(name).schedule).model_fields)
    assert fields == OWN[name] | {"policy", "epochs", "max_lr", "max_momentum", "start_epoch"}


@pytest.mark.parametrize("name", OWN)
def test_what_is_written_is_the_fields_of_the_variant_alone(name: str) -> None:
    recipe = under(name)
    written = to_yaml(recipe)
    assert not any(
        f"\n  {field}: " in written.partition("schedule:")[2].partition("find_lr:")[0] for field in foreign(name)
    )
    assert parse(written, "again.yaml") == recipe


def foreign(name: str) -> set[str]:
    return set().union(*OWN.values()) - OWN[name]


VALUES = {"milestones": "[1]", "mode": "exp_range", "anneal_strategy": "linear", "shape": "smith", "legs": "[1, 2, 1]"}
VALUES |= {"three_phase": "true", "step_size": "7"}


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in OWN for field in sorted(foreign(name))])
def test_a_field_of_another_variant_is_refused_with_its_line_and_with_what_to_do(name: str, field: str) -> None:
    text = to_yaml(under(name)).replace("\nschedule:\n", f"\nschedule:\n  {field}: {VALUES.get(field, '0.5')}\n")
    with pytest.raises(InputError) as caught:
        parse(text, "my.yaml")
    line = 1 + text[: text.index(f"\n  {field}: ", text.index("\nschedule:"))].count("\n") + 1
    decider = "shape" if "shape" in OWN[name] and field in OWN["torch"] else "policy"
    said = " ".join(caught.value.what.split())
    assert "one field is wrong" in said
    assert f"line {line} schedule.{field}: is a field of {decider} " in said
    assert f": leave it out, or set schedule.{decider} to " in said


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  policy: triangular", "", "schedule.policy: is missing: it must be one_cycle, triangular, constant, "),
        ("  step_size_epochs: 2.0", "", "either schedule.step_size or schedule.step_size_epochs"),
        ("mode: triangular", "mode: exp_range", "mode exp_range needs schedule.gamma"),
        ("base_momentum: 0.85", "base_momentum: 0.96", "schedule.base_momentum is above schedule.max_momentum"),
        ("  div_factor: 10.0", "", "schedule.div_factor: is missing, and policy triangular needs it"),
    ],
)
def test_fields_of_many_cycles_that_do_not_fit_together_are_refused(old: str, new: str, says: str) -> None:
    text = to_yaml(under("triangular"))
    assert old in text
    with pytest.raises(InputError) as caught:
        parse(text.replace(old, new), "my.yaml")
    assert says in caught.value.what


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[2.0, 3.0]", "[4]", "schedule.milestones must be below schedule.epochs, 4"),
        ("[2.0, 3.0]", "null", "schedule.milestones: must be a list, such as [0.1, 0.2], not empty"),
        ("  gamma: 0.1", "", "schedule.gamma: is missing, and policy multistep needs it"),
    ],
)
def test_milestones_that_do_not_fit_are_refused(old: str, new: str, says: str) -> None:
    text = to_yaml(under("multistep"))
    assert old in text
    with pytest.raises(InputError) as caught:
        parse(text.replace(old, new), "my.yaml")
    assert says in caught.value.what


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"schedule.three_phase": True, "schedule.pct_start": 0.6}, "schedule.pct_start must be at most 0.5"),
        (
            {"schedule.three_phase": True, "schedule.pct_start": None, "schedule.legs": [2, 2]},
            "schedule.three_phase works only with schedule.pct_start",
        ),
        ({"schedule.pct_start": None, "schedule.legs": [2, 1, 1]}, "has 3 numbers, but shape torch has 2 legs"),
    ],
)
def test_legs_of_the_torch_shape_that_do_not_fit_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        with_values(under("torch"), values)
    assert with_values(under("torch"), {"schedule.pct_start": 0.6}).schedule.share_up == 0.6


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ({}, 0.43),
        ({"schedule.pct_start": None, "schedule.legs": [5, 5, 5]}, 1 / 3),
        ({"schedule.policy": "constant"}, 1.0),
    ],
)
def test_the_share_of_the_way_up_is_known_of_every_policy(values: dict[str, object], share: float) -> None:
    assert with_values(load(shipped_path("digits")), values).schedule.share_up == pytest.approx(share)


@pytest.mark.parametrize(
    ("name", "form", "start_divisor", "at_peak"),
    [("blog", "blog", 10, 0.85), ("triangular", "triangular", 10, 0.85), ("cosine", None, 1, 0.95)],
)
def test_a_schedule_knows_its_form_its_first_lr_and_its_momentum_at_the_peak(
    name: str, form: str | None, start_divisor: float, at_peak: float
) -> None:
    settings = under(name).schedule
    assert (settings.form, settings.start_divisor, settings.at_peak) == (form, start_divisor, at_peak)
    assert settings.cycles == (start_divisor == 10)


@pytest.mark.parametrize("name", OWN)
def test_what_is_built_starts_and_peaks_where_its_settings_say(name: str) -> None:
    settings = under(name).schedule
    at = settings.build(10)
    values = [at(step) for step in range(40)]
    assert values[0].lr == pytest.approx(1.0 / settings.start_divisor)
    assert values[0].momentum == pytest.approx(0.95)
    peak = max(values, key=lambda value: value.lr)
    # The peaks of blog and smith are steps; those of torch and fastai may fall between two.
    assert (peak.lr, peak.momentum) == pytest.approx((1.0, settings.at_peak), rel=2e-2)
