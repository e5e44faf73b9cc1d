"""The table of bad input: whatever a person gives, the command ends with its exit code and a few lines, no traceback.

Each row is the command itself. What exactly is said of a field, an image, a folder stands in the tests of its module.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from onecycle_cli.recipe import shipped_path
from onecycle_cli.run_dir.run import RunDir

Command = Callable[..., Result]
DIGITS = shipped_path("digits").read_text()
ONE_SCREEN = 24


def must_be_told(result: Result, says: str, code: int = 2) -> None:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= ONE_SCREEN
    assert result.stdout == ""


def changed(old: str, new: str) -> str:
    assert old in DIGITS
    return DIGITS.replace(old, new)


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n}, ' * 9}]\n" for n in range(99))
RECIPES: dict[str, tuple[str | bytes, str]] = {
    "an empty file": ("", "does not contain the sections"),
    "comments alone": ("# nothing\n", "does not contain the sections"),
    "a number": ("1\n", "does not contain the sections"),
    "a list": ("- a\n- b\n", "does not contain the sections"),
    "an empty section": ("{}\n", "data: is missing"),
    "another program's": ("train:\n  lr: 0.1\n", "train: is not a field"),
    "tabs": (changed("  epochs", "\tepochs"), "not readable as YAML"),
    "a bracket that is open": (changed("mean: null", "mean: [0.1"), "not readable as YAML"),
    "a quote that is open": (changed("name: digits", 'name: "digits'), "not readable as YAML"),
    "a colon too many": (changed("seed: 0", "seed: 0: 1"), "not readable as YAML"),
    "a wrong indent": (changed("  epochs: 15", " epochs: 15"), "not readable as YAML"),
    "a field twice": (changed("seed: 0", "seed: 0\nseed: 1"), "'seed' appears here a second time"),
    "a section twice": (f"{DIGITS}\nmodel: {{}}\n", "'model' appears here a second time"),
    "two documents": (f"{DIGITS}\n---\n{DIGITS}", "found another document"),
    "an alias of nothing": (changed("seed: 0", "seed: *seed"), "undefined alias"),
    "a bomb of aliases": (BOMB, "*a0 repeats a list or a section"),
    "a bomb in a field": (BOMB + changed("channels: 1", "channels: *a99"), "*a0 repeats a list"),
    "a circle": ("a: &a [*a]\n", "*a repeats a list or a section"),
    "a merge": ("a: &a {b: 1}\n<<: *a\n", "*a repeats a list or a section"),
    "a thousand brackets": ("[" * 5000, "not readable as YAML"),
    "a key that is a list": ("? [a]\n: 1\n", "the name of a field must be one word"),
    "code": ("a: !!python/object/apply:os.getcwd []\n", "not readable as YAML"),
    "a class": (changed("resnet8", "!!python/name:os.system"), "not readable as YAML"),
    "a zero byte": (f"{DIGITS}\0", "not readable as YAML"),
    "UTF-16": (DIGITS.encode("utf-16"), "not text in UTF-8"),
    "Latin-1": (changed("name: digits", "name: größe").encode("latin-1"), "not text in UTF-8"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not text in UTF-8"),
    "100 MB": (b"# filler\n" * (100 * 2**20 // 9), "more than 1,048,576 bytes"),
    "a section that is text": (changed("runtime:", "runtime: fast\nspare:"), "must be a section with fields"),
    "a section that is a list": ("data: [1, 2]\n" + DIGITS.replace("data:", "datas:"), "must be a section"),
    "a field that is missing": (changed("  epochs: 15\n", ""), "schedule.epochs: is missing"),
    "an unknown field": (changed("seed: 0", "seed: 0\nsede: 0"), "did you mean 'seed'?"),
    "hundreds of unknown fields": (DIGITS + "".join(f"x{n}: 1\n" for n in range(500)), "and 480 more"),
    "text for a number": (changed("epochs: 15", "epochs: many"), "must be a whole number, not the text 'many'"),
    "a number for text": (changed("name: digits", "name: 7"), "must be text, not 7"),
    "true for a number": (changed("epochs: 15", "epochs: true"), "must be a whole number, not true"),
    "a list for a number": (changed("epochs: 15", "epochs: [15]"), "must be a whole number, not a list"),
    "no number": (changed("weight_decay: 1e-4", "weight_decay: .nan"), "must be a finite number"),
    "a number of 5,000 digits": (changed("seed: 0", f"seed: {'9' * 5000}"), "not readable as YAML"),
    "a date that is none": (changed("seed: 0", "seed: 2024-13-45"), "not readable as YAML"),
    "an architecture that is a path": (changed("resnet8", "../../etc/passwd"), "model.architecture: must be"),
    "a field of another shape": (
        changed("shape: blog", "shape: blog\n  three_phase: true"),
        "a field of shape torch",
    ),
    "a field of another policy": (
        changed("epochs: 15", "epochs: 15\n  milestones: [5]"),
        "of policy multistep",
    ),
    "a name that leaves its folder": (changed("name: digits", "name: ../../x"), "name: cannot be the text"),
    "a command to the terminal": (changed("name: digits", 'name: "\\e[2J"'), "cannot be the text '\\x1b[2J'"),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_wrong_recipe(onecycle: Command, kind: str) -> None:
    text, says = RECIPES[kind]
    Path("my.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    must_be_told(onecycle("train", "my.yaml", "--max-lr", 0.1), says)
    assert not Path("runs").exists()


def test_there_are_at_least_thirty() -> None:
    assert len(RECIPES) > 30


TABLE = ["train", "digits", "--max-lr", "0.1", "--set"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "folder", "--max-lr", "0.1"], "folder is a folder, not a recipe"),
        (["train", "nowhere.yaml", "--max-lr", "0.1"], "There is no recipe at nowhere.yaml"),
        (["train", "circle.yaml", "--max-lr", "0.1"], "There is no recipe at circle.yaml"),
        (["train", "pipe.yaml", "--max-lr", "0.1"], "There is no recipe at pipe.yaml"),
        (["train", "dgits", "--max-lr", "0.1"], "Did you mean digits?"),
        (["train", "digits"], "There is no max_lr"),
        (["train", "digits", "--max-lr", "fast"], "must be a number, not the text 'fast'"),
        (["train", "digits", "--max-lr", "-1"], "must be above 0, not -1"),
        (["train", "digits", "--max-lr", "0"], "must be above 0, not 0"),
        (["train", "digits", "--max-lr", "inf"], "must be a number"),
        (["train", "digits", "--max-lr", "1e99"], "must be at most 1000"),
        (["train", "digits", "--max-lr", "0.1", "--epochs", "9999999999"], "must be at most 100000"),
        (["train", "digits", "--max-lr", "0.1", "--batch-size", "-3"], "must be at least 2, not -3"),
        (["train", "digits", "--max-lr", "0.1", "--seed", "99999999999999999999"], "seed: must be below"),
        (["train", "digits", "--max-lr", "0.1", "--device", "tpu"], "cannot be the text 'tpu'"),
        (["train", "digits", "--max-lr", "0.1", "--set", "model.width"], "has no FIELD=VALUE"),
        (["train", "digits", "--max-lr", "0.1", "--set", "model.widht=1"], "did you mean 'width'?"),
        (["train", "digits", "--max-lr", "0.1", "--set", os.fsdecode(b"name=\xff")], "must be text in UTF-8"),
        (["train", "digits", "--max-lr", "0.1", "--set", "data.source=csvv"], "did you mean 'csv'?"),
        (["train", "digits", "--max-lr", "0.1", "--set", "data.path=x"], "is a field of source image_folder, csv,"),
        ([*TABLE, "data.source=torchvision", "--set", "data.dataset=CIFAR1000"], "did you mean 'CIFAR100'?"),
        (["train", "digits", "--max-lr", "0.1", "--name", "../x"], "cannot be the name of a run"),
        (["train", "digits", "--max-lr", "0.1", "--name", "/tmp/x"], "cannot be the name of a run"),
        (["train", "digits", "--max-lr", "0.1", "--name", ".."], "cannot be the name of a run"),
        (["train", "digits", "--max-lr", "0.1", "--init", "nowhere"], "nowhere is not a run"),
        (["train", "digits", "--max-lr-from", "nowhere"], "nowhere is not a run"),
        (["train", "digits", "--max-lr-from", "latest"], "holds no finished range test"),
        (["train", "--resume", "nowhere"], "nowhere is not a run"),
        (["train", "--resume", "../folder"], "is not a run"),
        (["find-lr", "digits", "--repeats", "0"], "Invalid value for '--repeats'"),
        (["find-lr", "digits", "--budget", "0"], "budget is 0."),
        (["find-lr", "digits", "--budget", "5"], "above 0, at most 4"),
        (["find-lr", "digits", "--budget", "half"], "Invalid value for '--budget'"),
        (["find-lr", "digits", "--budget", "0.5", "--verify"], "verify and budget 0.5 both name a budget."),
        (["sweep", "digits", "--param", "seed"], "is not of the form FIELD=VALUE"),
        (["sweep-wd", "digits", "--weight-decays", "1e-2,x"], "must be a number, not the text 'x'"),
        (["tune", "digits", "--budget", "-1"], "is no length of time"),
        (["schedule", "digits", "--max-lr", "1", "--csv", "text.jpg"], "text.jpg exists already"),
        (["recipes", "copy", "digits", "text.jpg"], "text.jpg exists already"),
        (["evaluate", "nowhere"], "nowhere is not a run"),
        (["predict", "text.jpg", "text.jpg"], "text.jpg is not a run"),
        (["export", "nowhere", "--format", "onnx"], "nowhere is not a run"),
        (["compare", "nowhere"], "nowhere is not a run"),
        (["diagnose", "nowhere"], "nowhere is not a run"),
    ],
)
def test_wrong_words(onecycle: Command, words: list[str], says: str) -> None:
    Path("folder").mkdir()
    Path("circle.yaml").symlink_to("circle.yaml")
    os.mkfifo("pipe.yaml")
    Path("text.jpg").write_text("not an image")
    must_be_told(onecycle(*words), says)
    assert Path("text.jpg").read_text() == "not an image"
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*TABLE, "data.source=csv", "--set", "data.path=x.csv"], "There is no CSV file at"),
        ([*TABLE, "data.source=csv", "--set", "data.path=folder"], "is a folder, not a CSV file"),
        ([*TABLE, "data.source=csv", "--set", "data.path=pipe.yaml"], "is not a regular file"),
        ([*TABLE, "data.source=parquet", "--set", "data.path=nowhere"], "There are no Parquet files at"),
        ([*TABLE, "data.source=datasets", "--set", "data.path=folder"], "so save_to_disk did not write it"),
    ],
)
def test_a_table_that_is_none(onecycle: Command, words: list[str], says: str) -> None:
    Path("folder").mkdir()
    os.mkfifo("pipe.yaml")
    must_be_told(onecycle(*words), says)


def train(onecycle: Command, folder: Path) -> Result:
    images = {"source": "image_folder", "path": folder, "valid_fraction": 0.3}
    return onecycle(
        "train", "digits", "--max-lr", 0.1, *(w for n, v in images.items() for w in ("--set", f"data.{n}={v}"))
    )


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("cut.png", lambda whole: whole[:-30], "cut.png: image file is truncated"),
        ("empty.png", lambda _: b"", "empty.png: cannot identify image file"),
        ("text.jpg", lambda _: b"not an image", "text.jpg: cannot identify image file"),
        ("program.jpg", lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n", "program.jpg: cannot identify image file"),
        ("half.png", lambda whole: whole[: len(whole) // 2], "half.png: "),
        ("\x1b[2J.png", lambda _: b"", "\\x1b[2J.png: cannot identify"),
    ],
)
def test_a_file_that_is_no_image(
    onecycle: Command, image_folder: Callable[..., Path], name: str, content: Callable[[bytes], bytes], says: str
) -> None:
    folder = image_folder("train/a", "train/b")
    (folder / "train" / "a" / name).write_bytes(content((folder / "train" / "a" / "0.png").read_bytes()))
    must_be_told(train(onecycle, folder), says)


def test_an_image_that_is_a_bomb(onecycle: Command, image_folder: Callable[..., Path]) -> None:
    folder = image_folder("train/a", "train/b")
    Image.new("1", (20_000, 20_000)).save(folder / "train" / "a" / "bomb.png")
    must_be_told(train(onecycle, folder), "bomb.png: Image size (400000000 pixels) exceeds limit")


def test_a_hundred_files_that_are_no_images(onecycle: Command, image_folder: Callable[..., Path]) -> None:
    folder = image_folder("train/a", "train/b")
    for number in range(100):
        (folder / "train" / "a" / f"{number}.jpg").touch()
    must_be_told(train(onecycle, folder), "and 90 more")


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ((), "holds no folders"),
        (("train/a",), "holds images in the folder 'a' only"),
        (("a",), "holds images in the folder 'a' only"),
        (("training/a", "testing/a"), "sound like splits, not classes"),
        (("train/a", "train/b", "test/a", "test/stranger"), "not classes of the training images: stranger"),
        (("train/a", "train/b", "test/"), "test holds no images in class folders"),
    ],
)
def test_a_folder_that_lacks_something(
    onecycle: Command, tmp_path: Path, image_folder: Callable[..., Path], classes: tuple[str, ...], says: str
) -> None:
    (tmp_path / "photos").mkdir()
    image_folder(*classes)
    for empty in (name for name in classes if name.endswith("/")):
        shutil.rmtree(tmp_path / "photos" / empty)
        (tmp_path / "photos" / empty).mkdir()
    must_be_told(train(onecycle, tmp_path / "photos"), says)


def test_a_folder_of_which_no_class_has_images(onecycle: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / "train" / name).mkdir(parents=True)
    must_be_told(train(onecycle, tmp_path / "photos"), "train holds no folders with images")


def test_what_is_no_folder_at_all(onecycle: Command, tmp_path: Path) -> None:
    must_be_told(train(onecycle, tmp_path / "nowhere"), "There is no folder")
    (tmp_path / "file").touch()
    must_be_told(train(onecycle, tmp_path / "file"), "is a file, not a folder of images")
    (tmp_path / "circle").symlink_to("circle")
    must_be_told(train(onecycle, tmp_path / "circle"), "There is no folder")


CUT, EMPTY, BYTES, OTHER, WORDS = "cut in a line", "empty", "no text", "of another kind", "words for numbers"
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    CUT: lambda whole: whole[: whole.rindex(b"\n", 0, len(whole) // 2) + 5],
    EMPTY: lambda _: b"",
    BYTES: lambda _: b"\xff\xfe\0",
    OTHER: lambda _: b"[]\n",
    WORDS: lambda whole: whole.replace(b"0.", b"x."),
}


SMALL = ("model.width=0.25", "find_lr.num_steps=40", "find_lr.start_lr=1e-3", "runtime.precision=float32")
SMALL_DIGITS = ["digits", "--batch-size", "128", "--device", "cpu", *(w for field in SMALL for w in ("--set", field))]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training, another that was stopped before its end, and a range test, to be copied."""
    from onecycle_cli.cli import app

    runs = tmp_path_factory.mktemp("kept")
    for words in (["train", "--max-lr", "0.1", "--name", "trained"], ["find-lr", "--name", "tested"]):
        small = [*SMALL_DIGITS, "--set", "schedule.epochs=2", "--runs-dir", str(runs)]
        assert CliRunner().invoke(app, [*words, *small]).exit_code == 0
    shutil.copytree(runs / "trained", runs / "stopped")
    RunDir(runs / "stopped").update(status="interrupted")
    return runs


RESUME, DIAGNOSE, EVALUATE, COMPARE, FROM = (
    ["train", "--resume", "runs/stopped"],
    ["diagnose", "runs/trained"],
    ["evaluate", "runs/trained"],
    ["compare", "runs/trained"],
    ["train", *SMALL_DIGITS, "--max-lr-from", "runs/tested"],
)


@pytest.mark.parametrize(
    ("file", "command", "damages"),
    [
        ("stopped/run.json", RESUME, (CUT, EMPTY, BYTES, OTHER)),
        ("stopped/recipe.yaml", RESUME, (CUT, EMPTY, BYTES, OTHER, WORDS)),
        ("stopped/steps.csv", RESUME, (CUT, EMPTY, BYTES, OTHER, WORDS)),
        ("stopped/checkpoint-24.safetensors", RESUME, (EMPTY, BYTES, OTHER)),
        ("trained/run.json", DIAGNOSE, (CUT, EMPTY, BYTES, OTHER)),
        ("trained/steps.csv", DIAGNOSE, (CUT, EMPTY, BYTES, OTHER, WORDS)),
        ("trained/epochs.csv", DIAGNOSE, (CUT, EMPTY, BYTES, OTHER, WORDS)),
        ("trained/run.json", EVALUATE, (CUT, EMPTY, BYTES, OTHER)),
        ("trained/recipe.yaml", EVALUATE, (CUT, EMPTY, BYTES, OTHER, WORDS)),
        ("trained/model.safetensors", EVALUATE, (EMPTY, BYTES, OTHER)),
        ("trained/run.json", COMPARE, (CUT, EMPTY, BYTES, OTHER)),
        ("trained/summary.json", COMPARE, (CUT, EMPTY, BYTES, OTHER, WORDS)),
        ("tested/lr_range.csv", FROM, (EMPTY, BYTES, OTHER, WORDS)),
        ("tested/suggestion.json", FROM, (CUT, EMPTY, BYTES, OTHER, WORDS)),
    ],
)
def test_a_file_of_a_run_that_is_damaged(
    onecycle: Command, kept: Path, file: str, command: list[str], damages: tuple[str, ...]
) -> None:
    shutil.copytree(kept, "runs")
    path = Path("runs") / file
    whole = path.read_bytes()
    for damage in damages:
        path.write_bytes(DAMAGES[damage](whole))
        must_be_told(onecycle(*command), path.name)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["run.json", "summary.json", "recipe.yaml", "steps.csv"])
def test_a_damaged_run_hides_no_other_from_the_list(onecycle: Command, kept: Path, file: str, damage: str) -> None:
    shutil.copytree(kept, "runs")
    path = Path("runs/trained") / file
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    listed = onecycle("runs")
    assert listed.exit_code == 0
    assert listed.stderr.partition(" is damaged: ")[0] in ("", f"runs/trained/{file}")
    assert "runs/tested" in listed.stdout
