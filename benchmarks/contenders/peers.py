"""One of the peers at the same task: python benchmarks/contenders/peers.py lightning --data FOLDER.

ResNet-20 on a folder of images (train/<class>/, test/<class>/), flip and reflected crop, SGD. Two epochs are trained
and the second is timed, validation excluded; then, where asked, a range test up to lr 1, where nothing diverges. Prints
one JSON object, in images a second.
"""

import argparse
import json
import logging
import resource
import time
import warnings
from pathlib import Path

import torch
from bare import resnet
from images import Images
from torch.nn import functional as F


def fastai(asked: argparse.Namespace) -> dict[str, float]:
    """fastai's Learner with fit_one_cycle and lr_find, in float32, which is its default on a CPU."""
    from fastai.callback import schedule  # noqa: F401 - adds fit_one_cycle and lr_find to Learner
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Callback, Learner
    from fastai.optimizer import SGD

    train, valid = (Images(asked.data, split, augmented=split == "train") for split in ("train", "test"))
    loaders = DataLoaders(
        DataLoader(train, bs=asked.batch_size, shuffle=True, drop_last=True, num_workers=asked.workers),
        DataLoader(valid, bs=asked.batch_size, num_workers=asked.workers),
    )
    loaders.c = 10
    times: list[float] = []

    class Timer(Callback):
        def before_train(self) -> None:
            times.append(-time.perf_counter())

        def after_train(self) -> None:
            times[-1] += time.perf_counter()

    learner = Learner(loaders, resnet(20), loss_func=F.cross_entropy, opt_func=SGD, cbs=Timer())
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(2, 0.1)
        found = {}
        if asked.range_steps:
            started = time.perf_counter()
            learner.lr_find(end_lr=1, num_it=asked.range_steps, show_plot=False)
            found = {"range_test": asked.range_steps * asked.batch_size / (time.perf_counter() - started)}
    return {"train": len(train) // asked.batch_size * asked.batch_size / times[1]} | found


def lightning(asked: argparse.Namespace) -> dict[str, float]:
    """Lightning's Trainer and Tuner, float32 or bf16-mixed."""
    import lightning as pl
    from lightning.pytorch.tuner import Tuner

    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    train, valid = _loaders(asked)
    times: list[float] = []

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = resnet(20), 0.1

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
            self.log("valid_loss", F.cross_entropy(self.model(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9, weight_decay=1e-4)

        def on_train_epoch_start(self) -> None:
            times.append(-time.perf_counter())

        def on_train_batch_end(self, _: object, __: object, batch: int) -> None:
            # Validation runs within the training epoch, so the last batch is its end.
            if batch == len(train) - 1:
                times[-1] += time.perf_counter()

    precision = "bf16-mixed" if asked.precision == "bfloat16" else "32-true"
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_epochs=2, precision=precision, enable_model_summary=False, num_sanity_val_steps=0, **quiet)
    trainer.fit(Classifier(), train, valid)
    result = {"train": len(train) * asked.batch_size / times[1]}
    if asked.range_steps:
        trainer = pl.Trainer(max_epochs=20, precision=precision, enable_model_summary=False, **quiet)
        started = time.perf_counter()
        Tuner(trainer).lr_find(Classifier(), train, num_training=asked.range_steps, max_lr=1)
        result["range_test"] = asked.range_steps * asked.batch_size / (time.perf_counter() - started)
    return result


def torch_lr_finder(asked: argparse.Namespace) -> dict[str, float]:
    """torch-lr-finder's range test, which trains nothing else."""
    from torch_lr_finder import LRFinder

    train, _ = _loaders(asked)
    model = resnet(20)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    started = time.perf_counter()
    finder = LRFinder(model, optimizer, torch.nn.CrossEntropyLoss(), device="cpu")
    finder.range_test(train, end_lr=1, num_iter=asked.range_steps)
    return {"range_test": asked.range_steps * asked.batch_size / (time.perf_counter() - started)}


def _loaders(asked: argparse.Namespace) -> list[torch.utils.data.DataLoader[tuple[torch.Tensor, int]]]:
    return [
        torch.utils.data.DataLoader(
            Images(asked.data, split, augmented=split == "train"),
            asked.batch_size,
            shuffle=split == "train",
            drop_last=split == "train",
            num_workers=asked.workers,
            persistent_workers=asked.workers > 0,
        )
        for split in ("train", "test")
    ]


PEERS = {"fastai": fastai, "lightning": lightning, "torch-lr-finder": torch_lr_finder}


def main() -> None:
    """Runs one peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--range-steps", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    measured = PEERS[asked.peer](asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(measured | {"peak_bytes": peak}))


if __name__ == "__main__":
    main()
