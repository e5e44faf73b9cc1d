"""A recipe prepared for experiments: its images on the device, and newly initialized models, optimizers and batches."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from onecycle_cli import __version__
from onecycle_cli.analysis.class_balance import dominant_class
from onecycle_cli.data.batches import FixedBatches, Normalization, TrainBatches, derived_seed
from onecycle_cli.data.decoded_cache import expect_random_reads
from onecycle_cli.data.images import ImageData, Source, Split
from onecycle_cli.experiments.initial_weights import InitialWeights, load_initial_weights
from onecycle_cli.experiments.own_code import keep_code, own_code_settings
from onecycle_cli.experiments.recipe_images import class_counts, image_counts, interpolation_of, open_recipe_data
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.train_batches import train_batches
from onecycle_cli.experiments.trainers import initial_model, new_trainer, trainer_of_stage
from onecycle_cli.models import NO_CODE, OwnCode, layer_groups, network_arguments
from onecycle_cli.models.weights import Header
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Recipe, last_stage, relative, result_settings
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware, configure_process
from onecycle_cli.training.ranks import ALONE, Ranks
from onecycle_cli.training.trainer import Trainer


@dataclass(frozen=True)
class PreparedRecipe:
    """The images and the network of a recipe on the device. `fresh` initializes the network again for each training.

    `start` has the trained weights that the network starts from, None if it starts from random ones. `trainer` is the
    trainer of the recipe's last stage. `test` is None if the data has no test split. `code` says which code of the user
    may run. `ranks` is the place of this process among those that train the network together.
    """

    hardware: Hardware
    data: ImageData
    start: InitialWeights | None
    trainer: Trainer
    train: TrainBatches
    valid: FixedBatches
    test: FixedBatches | None
    code: OwnCode = NO_CODE
    ranks: Ranks = ALONE

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the network's layer groups, in order."""
        return tuple(layer_groups(self.trainer.model, self.classes))

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.data.classes)

    @property
    def train_counts(self) -> list[int]:
        """The number of training images of each class."""
        return class_counts(self.data.train, self.classes)

    @property
    def valid_counts(self) -> list[int]:
        """The number of validation images of each class."""
        return class_counts(self.data.valid, self.classes)


def prepare(recipe: Recipe, session: Session, source: Source | None = None) -> PreparedRecipe:
    """Opens a recipe's images, moves them to the device, builds the network, and writes their facts to `run.json`.

    `source` has the images, if they are read already. `InputError` on all ranks where one of them has other images,
    another precision or other versions.
    """
    prepared = session.ranks.together(lambda: _prepared(recipe, session, source))
    if session.ranks.several:
        _must_agree(prepared, recipe, session)
    return prepared


def _prepared(recipe: Recipe, session: Session, source: Source | None) -> PreparedRecipe:
    configure_process(session.hardware, deterministic=recipe.runtime.deterministic)
    settings, code = recipe.data, session.code or NO_CODE
    keep_code(recipe, session.run)
    start = load_initial_weights(recipe, session.report, code)
    data = open_recipe_data(recipe, _keeping_notes(session), start, source=source)
    normalization = Normalization.of(data.mean, data.std, session.hardware.device)

    if start is not None:
        session.note(start.describe(recipe, data))

    def fixed(split: Split) -> FixedBatches:
        return FixedBatches(*_resident(split, session.hardware, session.note), normalization, settings.batch_size)

    resident = _resident(data.train, session.hardware, session.note)
    train = train_batches(recipe, *resident, normalization, data.train.labels, session.ranks)
    if train.images.device.type == "cpu":
        expect_random_reads(data.train.images)
    if train.drops_single_image:
        session.note(
            "The last batch of an epoch would have only one image, which batch norm cannot use, so it is skipped."
        )
    if unequal := _unequal_classes(recipe, data):
        session.note(unequal)
    trainer = new_trainer(recipe, data, start, train, session.hardware, session.note, code, session.ranks)
    if session.ranks.several and not recipe.runtime.sync_batch_norm and _has_batch_norm(trainer.model):
        session.note(
            f"Batch norm uses the statistics of each process's share of a batch of {settings.batch_size} images, so "
            "the result depends on the number of processes; --set runtime.sync_batch_norm=true uses the whole batch."
        )
    test, valid = fixed(data.test) if data.test else None, fixed(data.valid)
    prepared = PreparedRecipe(session.hardware, data, start, trainer, train, valid, test, code, session.ranks)
    describe(prepared, session.run)
    return prepared


def _must_agree(prepared: PreparedRecipe, recipe: Recipe, session: Session) -> None:
    """Raises `InputError` where ranks differ in what has to be alike on all of them."""
    data = prepared.data
    images = {
        f"set of {name} images": f"{len(split):,} with hash {_hash(split.contents.tobytes(), split.labels.tobytes())}"
        for name, split in data.splits.items()
    }
    settings = result_settings(recipe, session.hardware.precision) | own_code_settings(recipe)
    for section in ("find_lr", "runtime"):
        settings |= {f"{section}.{name}": value for name, value in getattr(recipe, section).model_dump().items()}
    apart = ("data.path", "model.init", "runtime.device", "runtime.checkpoint_seconds")  # of each machine
    versions = f"onecycle {__version__}, torch {torch.__version__}"
    facts = {"version": versions, **{name: value for name, value in settings.items() if name not in apart}}
    session.ranks.must_agree(facts | images | {"list of classes": ", ".join(data.classes)})


def _hash(*parts: bytes) -> str:
    return hashlib.blake2b(b"".join(parts), digest_size=6).hexdigest()


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def _keeping_notes(session: Session) -> Report:
    """Returns a report that also writes each note to `run.json`."""

    def told(news: Progress | str) -> None:
        if isinstance(news, str):
            session.run.note(news)
        session.report(news)

    return told


def _unequal_classes(recipe: Recipe, data: ImageData) -> str | None:
    """Returns a note on the largest class if it is much larger than the others, else None."""
    counts = class_counts(data.train, len(data.classes))
    largest = dominant_class(counts)
    if largest is None:
        return None
    name, share = data.classes[largest], counts[largest] / sum(counts)
    told = (
        f"Class '{name}' has {share:.1%} of the {sum(counts):,} training images, so a model that always answers "
        f"'{name}' has about this accuracy: balanced accuracy says more than accuracy."
    )
    if "balanced" in (recipe.optimizer.class_weights, recipe.data.sampler):
        return told
    return f"{told} With --set optimizer.class_weights=balanced, all classes count the same."


def describe(prepared: PreparedRecipe, run: RunDir) -> None:
    """Writes facts about the images of a run, and the number of threads of a training step, to `run.json`."""
    data = prepared.data
    run.update(step_threads=prepared.trainer.threads)
    counts = {"train": prepared.train_counts, "valid": prepared.valid_counts}
    run.update(classes=data.classes, images=image_counts(data), class_counts=counts, mean=data.mean, std=data.std)


def is_same_network(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes can share a `PreparedRecipe`: same images, same network, same kind of update.

    The recipes may differ in weight decay and seed, which `fresh` sets, and in the schedule, which each training
    receives. The seed must be the same if images are held out for validation, because it chooses them.
    """
    return _network_settings(one) == _network_settings(other)


def _network_settings(recipe: Recipe) -> dict[str, Any]:
    settings = recipe.model_dump(include={"data", "augmentation", "model", "optimizer", "fine_tune", "runtime"})
    del settings["optimizer"]["weight_decay"]
    for when in ("ema", "save_best", "log_every", "checkpoint_seconds"):
        del settings["runtime"][when]
    settings["relative lrs"] = relative(last_stage(recipe).schedule.max_lr)
    return settings | ({"seed": recipe.seed} if recipe.data.valid_fraction > 0 else {})


RESIDENT_SHARE = 0.5
"""The largest share of a GPU's free memory that images may fill; activations need the rest."""


def _resident(split: Split, hardware: Hardware, report: Callable[[str], None]) -> tuple[Tensor, Tensor]:
    """Moves the images and labels of a split to the device, except to a GPU with too little free memory."""
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    if hardware.device.type == "cuda" and images.nbytes > RESIDENT_SHARE * torch.cuda.mem_get_info(hardware.device)[0]:
        report(f"{images.nbytes / 2**30:.1f} GiB of images stay in host memory: the GPU has too little free memory.")
        return images, labels
    return images.to(hardware.device), labels.to(hardware.device)


def fresh(recipe: Recipe, prepared: PreparedRecipe) -> Trainer:
    """Resets and returns the trainer of `prepared`, with weights, batches and weight decay as `recipe` says."""
    weights = initial_model(recipe, prepared.data, prepared.start, prepared.code).state_dict()
    prepared.trainer.reset(weights, recipe.optimizer.weight_decay, replace(prepared.train, seed=recipe.seed))
    return prepared.trainer


ALL_SEEDS = 2**32
"""The number of possible seeds. After the last one, seeds continue from 0."""

VALID_IMAGES = 2048
"""The number of validation images for scores during an experiment. The standard error of an accuracy of 0.5 is 1.1
percentage points."""


def some_of(valid: FixedBatches, seed: int) -> FixedBatches:
    """Draws the `VALID_IMAGES` validation images for scores during an experiment; the same ones for the same seed."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "valid"))
    some = torch.randperm(len(valid.labels), generator=generator)[:VALID_IMAGES].to(valid.labels.device)
    return FixedBatches(valid.images[some], valid.labels[some], valid.normalization, valid.batch_size)


def stage_trainer(stage: Recipe, prepared: PreparedRecipe, report: Callable[[str], None]) -> Trainer:
    """Builds the trainer of one stage on the network of `prepared`, with a new optimizer and the current weights."""
    train = replace(prepared.train, seed=stage.seed)
    prepared.trainer.release()
    return trainer_of_stage(
        stage, prepared.trainer.model, train, prepared.data, prepared.hardware, report, prepared.ranks
    )


def weights_header(recipe: Recipe, prepared: PreparedRecipe) -> Header:
    """Returns the header for a file of this recipe's weights: the network, the classes and the image format."""
    data = prepared.data
    size = recipe.data.image_size
    arguments = network_arguments(
        recipe.model, channels=recipe.data.channels, classes=prepared.classes, image_size=size
    )
    return Header(
        arguments,
        data.classes,
        size,
        data.mean,
        data.std,
        data.value_range,
        recipe.data.resize,
        interpolation_of(recipe, prepared.start),
    )
