"""Scoring a trained model, class by class."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from onecycle_cli.data.image_folder import class_images
from onecycle_cli.data.images import ImageData
from onecycle_cli.engine import Hardware
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.setup import image_counts, open_recipe_data
from onecycle_cli.inference import Classifier
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.files import CONFUSION, CONFUSION_FIGURE, PER_CLASS, PER_CLASS_COLUMNS
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import to_csv


@dataclass(frozen=True)
class Evaluation:
    """The rows of `per_class.csv` and the summary."""

    per_class: list[dict[str, Any]]
    summary: dict[str, Any]


def evaluate_run(
    model: Classifier,
    trained: RunDir,
    recipe: Recipe,
    folder: Path | None,
    hardware: Hardware,
    run: RunDir,
    report: Report,
) -> Evaluation:
    """Scores `model`, of the run `trained`, on the images in `folder` (a folder of classes), or on its test split.

    Where there is no test split, on what it was validated on. Writes a table a class, a confusion matrix and its
    figure. `InputError` where the images of the recipe are no longer those that it was trained on.
    """
    scored, pixels, labels = _images(model, trained, recipe, folder, report)
    likely = model.to(hardware.device).probabilities(pixels, hardware)
    answers = likely.argmax(1)
    classes = len(model.classes)
    counts = torch.bincount(labels * classes + answers, minlength=classes**2).view(classes, classes).tolist()
    per_class = [_class_row(name, label, counts) for label, name in enumerate(model.classes)]
    summary = {
        "scored": scored,
        "images": len(labels),
        "loss": float(F.nll_loss(likely.clamp_min(1e-12).log(), labels)),
        "accuracy": float((answers == labels).float().mean()),
    }
    _write(model, counts, per_class, run, f"{recipe.name}: {summary['accuracy']:.2%} of {len(labels):,} images")
    run.finish("finished", summary)
    return Evaluation(per_class, summary)


def _images(
    model: Classifier, trained: RunDir, recipe: Recipe, folder: Path | None, report: Report
) -> tuple[str, torch.Tensor, torch.Tensor]:
    """What is scored, as words, and its pixels and labels."""
    if folder is not None:
        files = class_images(folder, model.classes, report)
        pixels = []
        for done, (path, _) in enumerate(files, start=1):
            pixels.append(model.read(path))
            report(Progress("decoding", done, len(files), "images"))
        return str(folder), torch.stack(pixels), torch.tensor([label for _, label in files])
    data = open_recipe_data(recipe, report)
    _must_be_as_trained(data, model, trained)
    split, name = (data.test, "test split") if data.test else (data.valid, data.valid_is)
    return name, torch.from_numpy(split.images), torch.from_numpy(split.labels)


def _must_be_as_trained(data: ImageData, model: Classifier, trained: RunDir) -> None:
    """Refuses images whose labels would mean other classes, or among which some may have been trained on."""
    mend = "Name a folder of classes with --data."
    if data.classes != model.classes:
        raise InputError(
            f"The images have the classes {', '.join(data.classes)}, but the model knows {', '.join(model.classes)}.",
            mend,
        )
    found, before = image_counts(data), trained.facts["images"]
    if found != before:
        raise InputError(f"The images have changed since the training: {before} then, {found} now.", mend)


def _class_row(name: str, label: int, counts: list[list[int]]) -> dict[str, Any]:
    images, answers = sum(counts[label]), sum(row[label] for row in counts)
    correct = counts[label][label]
    return {
        "class": name,
        "images": images,
        "correct": correct,
        "recall": correct / images if images else None,
        "precision": correct / answers if answers else None,
    }


def _write(
    model: Classifier, counts: list[list[int]], per_class: list[dict[str, Any]], run: RunDir, title: str
) -> None:
    from onecycle_cli.plots import plot_confusion

    with run.table(PER_CLASS, PER_CLASS_COLUMNS) as table:
        table.append(per_class)
    rows = [[name, *row] for name, row in zip(model.classes, counts, strict=True)]
    run.write_text(CONFUSION, to_csv(["true", *model.classes], rows))
    run.write_with(
        CONFUSION_FIGURE, lambda path: plot_confusion(path, title=title, classes=model.classes, counts=counts)
    )
