"""Scores a trained model, class by class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from onecycle_cli.analysis.class_balance import TOP_5_CLASSES, Answers
from onecycle_cli.analysis.wrong_predictions import kept as kept_wrong
from onecycle_cli.data.batches import Share
from onecycle_cli.data.file_names import file_names
from onecycle_cli.data.folder_listing import list_class_folder
from onecycle_cli.data.images import FileNames, ImageData, contents_of
from onecycle_cli.data.picture_sheet import write_sheet
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.classifier import Classifier, Unreadable, refusal
from onecycle_cli.experiments.drawing import draw
from onecycle_cli.experiments.kept_images import KeptImages, kept_images, rebuilt_split, trained_on
from onecycle_cli.experiments.recipe_images import image_counts, open_recipe_data
from onecycle_cli.experiments.session import Session
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.files import (
    CONFUSION,
    CONFUSION_FIGURE,
    PER_CLASS,
    PER_CLASS_COLUMNS,
    SHEET_COLUMNS,
    WRONG,
    WRONG_COLUMNS,
    WRONG_PICTURES,
)
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import to_csv

MOST_NAMED = 10
"""The most unreadable files that one message names."""


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation: the rows of `per_class.csv`, and the content of `summary.json`."""

    per_class: list[dict[str, Any]]
    summary: dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """The images that are scored: what they are, their pixels and labels.

    `names` is what each is called in a table, None for its position; `files` are the names of their files below the
    folder of the images, None where they have none.
    """

    described: str
    pixels: torch.Tensor
    labels: torch.Tensor
    names: Sequence[str] | None
    files: FileNames | None


def evaluate_run(
    model: Classifier,
    trained: RunDir,
    recipe: Recipe,
    folder: Path | None,
    session: Session,
) -> Evaluation:
    """Scores `model`, of the run `trained`, on the images in `folder` (a folder of classes), or on its test split.

    Where there is no test split, on what it was validated on: the same images, wherever they lie now. Writes a table a
    class, a confusion matrix and its figure, and some wrong predictions with their images. `InputError` where images
    came, went or changed since the training.
    """
    with session.run.recording():
        session.run.update(trained_run=trained.path.absolute())
        result = _evaluate(model, trained, recipe, folder, session)
        session.run.finish("finished", result.summary)
    return result


def _evaluate(model: Classifier, trained: RunDir, recipe: Recipe, folder: Path | None, session: Session) -> Evaluation:
    _ = trained.facts  # a run whose run.json is damaged is refused
    kept = kept_images(trained)
    if folder is not None:
        images = _images_in(folder, model, session)
    else:
        images = _images_of_run(kept, model, trained, recipe, session.report, session.note)
    pixels, labels = images.pixels, images.labels
    known = None if kept is None else trained_on(kept, contents_of(pixels.numpy()))
    if known:
        session.note(f"The model was trained on {known:,} of these {len(labels):,} images.")
    likely = _probabilities(model.to(session.hardware.device), pixels, session)
    answers = likely.argmax(1)
    classes = len(model.classes)
    counts = torch.bincount(labels * classes + answers, minlength=classes**2).view(classes, classes).tolist()
    per_class = [_class_row(name, label, counts) for label, name in enumerate(model.classes)]
    by_class = Answers(
        images=tuple(map(sum, counts)),
        answered=tuple(map(sum, zip(*counts, strict=True))),
        correct=tuple(row[label] for label, row in enumerate(counts)),
    )
    only_answer, has_top_5 = by_class.only_answer, classes >= TOP_5_CLASSES
    summary = {
        "scored": images.described,
        "images": len(labels),
        "trained_on": known,
        "loss": float(F.nll_loss(likely.clamp_min(1e-12).log(), labels)),
        "accuracy": float((answers == labels).float().mean()),
        "balanced_accuracy": by_class.balanced_accuracy,
        "top5_accuracy": float((likely.topk(5).indices == labels[:, None]).sum()) / len(labels) if has_top_5 else None,
        "only_answer": None if only_answer is None else model.classes[only_answer],
    }
    if only_answer is not None:
        session.note(f"The model answers '{summary['only_answer']}' for every image.")
    title = f"{recipe.name}: {summary['accuracy']:.2%} of {len(labels):,} images"
    _write(model, counts, per_class, session, title)
    _write_wrong(model, images, likely, session)
    return Evaluation(per_class, summary)


def _probabilities(model: Classifier, pixels: torch.Tensor, session: Session) -> torch.Tensor:
    """Returns the probability of each class for each image, (images, classes). Several ranks share the work."""
    ranks, images = session.ranks, len(pixels)
    share = Share(ranks.rank, ranks.count)
    own = model.probabilities(pixels[share.of(images)], session.hardware)
    if not (ranks.several and share.is_divided(images)):
        return own
    whole = own.new_empty((images, own.shape[1]))
    for rank, part in enumerate(ranks.all(own.numpy())):
        whole[Share(rank, ranks.count).of(images)] = torch.from_numpy(part)
    return whole


def _images_in(folder: Path, model: Classifier, session: Session) -> Scored:
    """Reads a folder of classes. `InputError` if a file is unreadable.

    Several ranks decode the files together.
    """
    ranks = session.ranks
    listing = ranks.together(lambda: list_class_folder(folder, model.classes))
    for skipped in listing.skipped:
        session.note(f"Not used: {skipped}.")
    files = listing.files()
    read: list[torch.Tensor | Unreadable] = []
    own = files[ranks.rank :: ranks.count]
    for done, (path, _) in enumerate(own, start=1):
        try:
            read.append(model.read(path))
        except InputError as error:
            read.append(Unreadable(path, error.what))
        session.report(Progress("decoding", done, len(own), "images"))
    pixels: list[torch.Tensor] = []
    unreadable: list[Unreadable] = []
    for one in ranks.merged(read):
        if isinstance(one, Unreadable):
            unreadable.append(one)
        else:
            pixels.append(one)
    if unreadable:
        raise refusal(unreadable, MOST_NAMED)
    (below,) = file_names(listing, folder).values()
    labels = torch.tensor([label for _, label in files])
    return Scored(str(folder), torch.stack(pixels), labels, [str(path) for path, _ in files], below)


def _images_of_run(
    kept: KeptImages | None,
    model: Classifier,
    trained: RunDir,
    recipe: Recipe,
    report: Report,
    told: Callable[[str], None],
) -> Scored:
    """Returns the images that the run held out, found by content.

    Runs of older versions kept no contents, so for them only the number of images is checked.
    """
    data = open_recipe_data(recipe, report, interpolation=model.interpolation, with_files=True)
    _must_have_classes(data, model)
    if kept is not None:
        split, moved = rebuilt_split(kept, data)
        if moved:
            told("Files were renamed or moved since the training; the split was rebuilt by the content of the images.")
        name = "test split" if kept.scored == "test" else data.valid_is
    else:
        _must_be_as_many(data, trained)
        told("This run is of an older version, which did not keep its images: only their number was checked.")
        split, name = (data.test, "test split") if data.test else (data.valid, data.valid_is)
    return Scored(name, torch.from_numpy(split.images), torch.from_numpy(split.labels), None, split.files)


def _must_have_classes(data: ImageData, model: Classifier) -> None:
    """Refuses images whose classes are not those of the model, in the same order."""
    if data.classes != model.classes:
        raise InputError(
            f"The images have the classes {', '.join(data.classes)}, but the model knows {', '.join(model.classes)}.",
            "Restore the folders as they were, or name a folder of classes with --data.",
        )


def _must_be_as_many(data: ImageData, trained: RunDir) -> None:
    found, before = image_counts(data), trained.facts["images"]
    if found != before:
        raise InputError(
            f"The images have changed since the training: {before} then, {found} now.",
            "Name a folder of classes with --data.",
        )


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
    model: Classifier,
    counts: list[list[int]],
    per_class: list[dict[str, Any]],
    session: Session,
    title: str,
) -> None:
    def plot(path: Path) -> str:
        from onecycle_cli.figures.plots import plot_confusion

        return plot_confusion(path, title=title, classes=model.classes, counts=counts)

    lines = [[row[column] for column in PER_CLASS_COLUMNS] for row in per_class]
    session.run.write_text(PER_CLASS, to_csv(PER_CLASS_COLUMNS, lines))
    rows = [[name, *row] for name, row in zip(model.classes, counts, strict=True)]
    session.run.write_text(CONFUSION, to_csv(["true", *model.classes], rows))
    draw(session, CONFUSION_FIGURE, plot)


def _write_wrong(model: Classifier, images: Scored, likely: torch.Tensor, session: Session) -> None:
    """Writes some wrong predictions, the most confident first, and a sheet of their images in the same order.

    An image is called by its path, or by its position among the images that were scored. Its file is named too.
    """
    labels, names, files = images.labels, images.names, images.files
    best = likely.max(1)
    answers = best.indices.tolist()
    chosen = kept_wrong(labels.tolist(), answers, best.values.tolist())
    rows = [
        {
            "image": i if names is None else names[i],
            "true": model.classes[labels[i]],
            "predicted": model.classes[answers[i]],
            "probability": float(best.values[i]),
            "true_probability": float(likely[i, labels[i]]),
            "file": None if files is None else files[i],
        }
        for i in chosen
    ]
    lines = [[row[column] for column in WRONG_COLUMNS] for row in rows]
    session.run.write_text(WRONG, to_csv(WRONG_COLUMNS, lines))

    def plot(path: Path) -> str:
        write_sheet(path, images.pixels[chosen].numpy(), SHEET_COLUMNS)
        return ""

    if rows:
        draw(session, WRONG_PICTURES, plot)
