"""What is wrong with a recipe: each field by its name and line, all at once, in a person's words."""

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import parse, shipped_path

DIGITS = shipped_path("digits").read_text()


def changed(old: str, new: str) -> str:
    assert old in DIGITS
    return DIGITS.replace(old, new)


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, "my.yaml")
    return caught.value.what


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
        ("max_lr: null", "max_lr: [1e-4]", "schedule.max_lr: a list has two numbers, for the first layer group and"),
        ("max_lr: null", "max_lr: [1e-4, x]", "schedule.max_lr.1: must be a number, not the text 'x'"),
        ("max_lr: null", "max_lr: {body: 0, head: 1}", "schedule.max_lr.body: must be above 0, not 0"),
        ("max_lr: null", "max_lr: {body: 1}", "schedule.max_lr.head: is missing"),
        ("max_lr: null", "max_lr: {heda: 1, body: 1}", "schedule.max_lr.heda: is not a field; did you mean 'head'?"),
        (
            "architecture: resnet8",
            "architecture: resnet50",
            "; with source torchvision or timm it can be another",
        ),
        (
            "source: digits",
            "source: digits\n  mirrors: ['https://x.org/a']",
            "data.mirrors: is a field of source cifar10, not of digits: leave it out, or set data.source to cifar10",
        ),
        ("source: digits", "source: image_foldr", "did you mean 'image_folder'?"),
        ("  source: digits\n", "", "data.source: is missing: it must be cifar10, image_folder"),
        (
            "width: 1",
            "width: 1\n  pretrained: true",
            "model.pretrained: is a field of source torchvision or timm, not of",
        ),
        ("width: 1", "source: torchvisoin", "did you mean 'torchvision'?"),
        (
            "batch_size: 64",
            "batch_size: 64\n  accumulate: 33",
            "leaves less than two images for each micro-batch of a batch of 64: set it to at most 32",
        ),
        ("batch_size: 64", "batch_size: 64\n  accumulate: 65", "data.accumulate 65 leaves less than two images"),
        ("batch_size: 64", "batch_size: 64\n  accumulate: 0", "data.accumulate: must be at least 1, not 0"),
        ("weight_decay: 1e-4", "weight_decay: 1e-4\n  max_grad_norm: 0", "max_grad_norm: must be above 0, not 0"),
        ("device: auto", "device: auto\n  ema: 1", "runtime.ema: must be below 1, not 1"),
        ("name: digits", "name: ../digits", "name: cannot be the text '../digits'"),
        ("device: auto", "device: gpu", "runtime.device: cannot be the text 'gpu': use auto, cpu"),
        ("seed: 0", "seed: -1", "seed: must be at least 0, not -1"),
        ("mean: null", "mean: [125.3]", "data.mean must be from 0 to 1"),
        ("base_momentum: 0.85", "base_momentum: 0.99", "schedule.base_momentum is above schedule.max_momentum"),
        ("pct_start: 0.43", "pct_start: 0.6", "schedule.pct_start must be at most 0.5"),
        ("pct_start: 0.43", "", "policy one_cycle needs either schedule.pct_start or schedule.legs"),
        ("pct_start: 0.43", "pct_start: 0.43\n  legs: [5, 5, 5]", "either schedule.pct_start or schedule.legs"),
        ("pct_start: 0.43", "legs: [5, 5, 6]", "schedule.legs adds up to 16, but schedule.epochs is 15"),
        ("pct_start: 0.43", "legs: [7, 8]", "schedule.legs has 2 numbers, but shape blog has 3 legs"),
        ("pct_start: 0.43", "legs: [7, 0, 8]", "schedule.legs.1: must be above 0, not 0"),
        ("shape: blog", "", "schedule.shape: is missing: it must be blog, smith, torch or fastai"),
        (
            "shape: blog",
            "shape: blgo",
            "schedule.shape: must be blog, smith, torch or fastai, not the text 'blgo'",
        ),
        ("shape: blog", "shape: null", "schedule.shape: must be blog, smith, torch or fastai, not empty"),
        (
            "policy: one_cycle",
            "",
            "schedule.policy: is missing: it must be one_cycle, triangular, constant,",
        ),
        ("policy: one_cycle", "policy: [cosine]", "schedule.policy: must be one_cycle, triangular, "),
        ("  final_div_factor: 100", "", "schedule.final_div_factor: is missing, and policy one_cycle needs it"),
        ("epochs: 15", "epochs: 15\n  start_epoch: 15", "schedule.start_epoch must be below schedule.epochs, 15"),
        ("policy: one_cycle", "policy: cosin", "did you mean 'cosine'?"),
        ("end_lr: 10", "end_lr: 1e-5", "find_lr.end_lr must be above find_lr.start_lr"),
        ("source: digits", "source: image_folder", "data.path: is missing, and source image_folder needs it"),
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
    assert "one field is wrong" in what
    assert "line " in what


def test_a_field_in_a_section_in_a_section_has_its_own_line() -> None:
    what = refused(changed("  max_lr: null", "  max_lr:\n    body: 1\n    head: -1"))
    line = 3 + DIGITS[: DIGITS.index("  max_lr: null")].count("\n")
    assert f"line {line}  schedule.max_lr.head: must be above 0, not -1" in what


def test_all_errors_are_told_at_once_each_with_its_own_line() -> None:
    text = DIGITS.replace("seed: 0", "seed: x").replace("epochs: 15", "epochs: x").replace("width: 1", "widht: 1")
    lines = {name: 1 + text[: text.index(name)].count("\n") for name in ("seed: x", "epochs: x", "widht: 1")}
    what = refused(text)
    assert "3 fields are wrong" in what
    for line, field in zip(lines.values(), ("seed", "schedule.epochs", "model.widht"), strict=True):
        assert any(row.split()[:3] == ["line", str(line), f"{field}:"] for row in what.splitlines()), (line, field)


def test_a_missing_field_has_the_line_of_its_section() -> None:
    what = refused(DIGITS.replace("  epochs: 15\n", ""))
    line = 1 + DIGITS[: DIGITS.index("schedule:")].count("\n")
    assert f"line {line}  schedule.epochs: is missing" in what


def test_a_misspelt_field_is_not_told_as_missing_too() -> None:
    assert "missing" not in refused(changed("weight_decay: 1e-4", "weigth_decay: 1e-4"))


def test_a_missing_field_is_told_though_another_policy_has_one_of_a_similar_name() -> None:
    text = DIGITS.replace("  final_div_factor: 100\n", "").replace("policy: one_cycle", "policy: cosine")
    what = refused(text)
    assert "schedule.div_factor: is a field of policy one_cycle or triangular, not of cosine: leave it out, or" in what
    assert "schedule.final_div_factor: is missing, and policy cosine needs it" in what


def test_of_hundreds_of_wrong_fields_twenty_are_told_a_line_each() -> None:
    text = DIGITS + "".join(f"'more\\n{number}': 1\n" for number in range(100)) + f"{'x' * 500}: 1\n"
    text = text.replace("'", '"')
    *_, twentieth, more = refused(text).splitlines()
    assert twentieth.endswith("more\\n19: is not a field")
    assert more == "  and 81 more"
    assert f"{'x' * 100}...: is not a field" in refused(f"{'x' * 500}: 1\n{DIGITS}")
