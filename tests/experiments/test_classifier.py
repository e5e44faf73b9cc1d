"""Trained models at work, from Python."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import onecycle_cli
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.classifier import Unreadable, image_files, load_model, predict, refusal
from onecycle_cli.experiments.recipe_images import open_recipe_data
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import silent
from onecycle_cli.recipe import load, shipped_path, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that has learned the digits."""
    values = {"schedule.epochs": 8, "schedule.max_lr": 0.1, "runtime.precision": "float32"}
    recipe = with_values(load(shipped_path("digits")), values)
    folder = tmp_path_factory.mktemp("runs")
    made = RunDir.create(
        folder, command="train", recipe_name="digits", recipe_yaml=to_yaml(recipe), facts={}, name="trained"
    )
    train(recipe, Session(made, CPU, silent))
    return made


@pytest.fixture
def written_digits(tmp_path: Path) -> list[Path]:
    """Fifty digits as PNG files, named by their number and class."""
    images, labels = load_digits(return_X_y=True)
    paths = []
    for number in range(50):
        pixels = np.rint(images[number].reshape(8, 8) * (255 / 16)).astype(np.uint8)
        paths.append(tmp_path / f"{number}-{labels[number]}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_a_model_says_what_it_was_trained_on(run: RunDir) -> None:
    model = onecycle_cli.load_model(run.path)
    assert model.classes == tuple("0123456789")
    assert (model.image_size, model.channels) == (8, 1)
    assert list(model.mean) == run.facts["mean"]
    assert not model.training


def test_it_gives_the_accuracy_that_training_saw(run: RunDir) -> None:
    valid = open_recipe_data(load(run.path / "recipe.yaml"), silent).valid
    likely = load_model(run.path).probabilities(torch.from_numpy(valid.images))
    assert likely.shape == (360, 10)
    assert likely.sum(1) == pytest.approx(torch.ones(360))
    assert (likely.argmax(1).numpy() == valid.labels).mean() == pytest.approx(run.summary["valid_accuracy"])


def test_image_files_are_classified(run: RunDir, written_digits: list[Path]) -> None:
    ((answers, unreadable),) = predict(load_model(run.path), written_digits, CPU)
    assert unreadable == []
    assert [answer.path for answer in answers] == written_digits
    assert sum(answer.label == answer.path.stem[-1] for answer in answers) >= 47
    assert all(0.1 < answer.probability <= 1 for answer in answers)
    assert list(predict(load_model(run.path), [], CPU)) == []


def test_files_are_read_a_batch_at_a_time_and_one_that_is_no_image_costs_no_other(
    run: RunDir, written_digits: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(run.path)
    ((whole, _),) = predict(model, written_digits[:6], CPU)
    written_digits[1].write_bytes(b"no image")
    monkeypatch.setattr("onecycle_cli.experiments.classifier.BATCH_SIZE", 2)
    monkeypatch.setattr("onecycle_cli.experiments.classifier.CHUNK", 2)
    monkeypatch.setattr("onecycle_cli.data.file_decoding.CHUNK", 2)
    named: Iterator[str | Path] = iter([*map(str, written_digits[:6]), "nowhere.png", written_digits[0]])
    batches = predict(model, named, CPU)
    answers, unreadable = next(batches)
    assert len(list(named)) == 6, "the others are not looked at yet"
    assert [one.path for one in answers] == written_digits[:1]
    assert [one.path for one in unreadable] == written_digits[1:2]
    assert "cannot be read as an image" in unreadable[0].reason
    assert answers[0].probability == pytest.approx(whole[0].probability)


def test_workers_change_no_answer(run: RunDir, written_digits: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model, files = load_model(run.path), written_digits * 4
    monkeypatch.setattr("onecycle_cli.experiments.classifier.BATCH_SIZE", 64)
    monkeypatch.setattr("onecycle_cli.data.file_decoding.cores", lambda: 4)
    monkeypatch.setattr("onecycle_cli.data.file_decoding.fair_workers", lambda *_: 1)
    alone = list(predict(model, files, CPU))
    monkeypatch.setattr("onecycle_cli.data.file_decoding.ALONE_SECONDS", 1e-9)
    threads = torch.get_num_threads()
    beside = list(predict(model, files, CPU))
    for (answers, _), (others, _) in zip(alone, beside, strict=True):
        assert [(one.path, one.label) for one in answers] == [(one.path, one.label) for one in others]
        assert [one.probability for one in answers] == pytest.approx([one.probability for one in others])
    assert torch.get_num_threads() == threads
    assert [len(answers) for answers, _ in alone] == [64, 64, 64, 8]


def test_a_folder_stands_for_all_images_below_it(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.JPG", "a.png", ".hidden.png", ".cache/x.png", "notes.txt", "b/c/\udcff.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    found = [tmp_path / name for name in ("a.png", "b/1.JPG", "b/2.png", "b/c/\udcff.png")]
    assert image_files([str(tmp_path)]) == found
    others = [tmp_path / "empty", tmp_path / "notes.txt", tmp_path / "nowhere"]
    assert image_files([*others, tmp_path / "b/c"]) == [*others, found[-1]]


def test_many_unreadable_files_are_named_up_to_a_limit() -> None:
    files = [Unreadable(Path(f"{number}.png"), f"{number}.png is none.") for number in range(12)]
    assert refusal(files[:1]).what == "One file cannot be read as images:\n  0.png is none."
    assert refusal(files).what.count("is none") == 12
    assert refusal(files, 10).what.endswith("  9.png is none.\n  and 2 more")
    assert refusal(files[:10], 10).what.endswith("  9.png is none.")


def test_a_weights_file_may_be_named_itself(run: RunDir) -> None:
    assert load_model(run.path / "model.safetensors").classes == tuple("0123456789")


def test_what_is_not_there_is_told(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no weights at .*best\.safetensors"):
        load_model(run.path, best=True)
    with pytest.raises(InputError, match="There are no weights"):
        load_model(tmp_path)
    model = load_model(run.path)
    with pytest.raises(InputError, match="There is no image"):
        model.read(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="is a folder without images"):
        model.read(str(tmp_path))
    (tmp_path / "text.png").write_text("x")
    with pytest.raises(InputError, match="cannot be read as an image"):
        model.read(tmp_path / "text.png")


def test_the_package_offers_what_it_says() -> None:
    assert all(hasattr(onecycle_cli, name) for name in onecycle_cli.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = onecycle_cli.nothing


def test_an_image_of_any_size_and_colour_is_read_as_the_model_wants_it(run: RunDir, image_folder: Callable) -> None:
    model = load_model(run.path)
    path = image_folder("a", size=(30, 20)) / "a" / "0.png"
    assert model.read(path).shape == (8, 8, 1)
    assert torch.equal(model.read(str(path)), model.read(path))
    assert model(model.read(path)[None]).shape == (1, 10)


def test_an_image_is_read_as_those_of_the_training_were(tiny: Callable, image_folder: Callable) -> None:
    folder = image_folder("train/a", "train/b", "test/a", "test/b", size=(20, 10))
    values = {"data.source": "image_folder", "data.path": str(folder), "data.channels": 3, "data.batch_size": 4}
    values |= {"data.valid_fraction": 0.0, "data.resize": "pad", "data.interpolation": "nearest"}
    recipe = tiny(values)
    model = onecycle_cli.train(recipe, runs_dir="runs").model()
    trained_on = open_recipe_data(recipe, silent).valid.images
    assert np.array_equal(model.read(folder / "test" / "a" / "0.png"), trained_on[0])
    assert trained_on[0, 0].max() == 0


@pytest.mark.gpu
def test_on_a_gpu_pixels_of_the_cpu_may_come_in(run: RunDir, written_digits: list[Path]) -> None:
    cuda = Hardware(torch.device("cuda"), "float32")
    ((there, _),) = predict(load_model(run.path), written_digits, cuda)
    ((here, _),) = predict(load_model(run.path), written_digits, CPU)
    assert [answer.label for answer in there] == [answer.label for answer in here]
