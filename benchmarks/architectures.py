"""Takes thirty networks of timm through find-lr and two epochs, into benchmarks/results/architectures.csv.

    python benchmarks/architectures.py data/cifar10-2000

The images are a folder with train and test. The recipe is that of cifar10-resnet8, with the network and the optimizer
of the table below and no other change for any of them. A network that has a row already is not run again. What stands
behind `--` goes to `onecycle` as it is. `repeats` is the number of range tests: three where one gave no max_lr.
`trained_with` is the max_lr of the training: the suggestion, or a typical one where there is none.
"""

import argparse
import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from command import onecycle, told, words_and_options
from rows import append, csv_file

COLUMNS = (
    *("date", "architecture", "family", "optimizer", "image_size", "parameters"),
    *("max_lr", "confidence", "repeats", "trained_with", "status", "valid_accuracy", "seconds", "images", "epochs"),
    *("device_name", "threads", "precision", "torch", "timm", "onecycle_cli"),
)


@dataclass(frozen=True)
class Network:
    """A network of timm: its name, its family, the optimizer its family is trained with, and the image size."""

    architecture: str
    family: str
    optimizer: str
    image_size: int


NETWORKS = (
    Network("resnet10t", "ResNet", "sgd", 32),
    Network("densenet121", "DenseNet", "sgd", 32),
    Network("convnext_atto", "ConvNeXt", "adamw", 32),
    Network("convnextv2_atto", "ConvNeXt V2", "adamw", 32),
    Network("mobilenetv3_small_050", "MobileNet V3", "sgd", 64),
    Network("lcnet_050", "LCNet", "sgd", 64),
    Network("mobilenetv4_conv_small_050", "MobileNet V4", "sgd", 64),
    Network("levit_128s", "LeViT", "adamw", 64),
    Network("pit_ti_224", "PiT", "adamw", 64),
    Network("xcit_nano_12_p16_224", "XCiT", "adamw", 64),
    Network("edgenext_xx_small", "EdgeNeXt", "adamw", 64),
    Network("mnasnet_050", "MNASNet", "sgd", 32),
    Network("ghostnet_050", "GhostNet", "sgd", 32),
    Network("regnetx_002", "RegNet", "sgd", 32),
    Network("dla46_c", "DLA", "sgd", 32),
    Network("mobilenetv2_050", "MobileNet V2", "sgd", 64),
    Network("deit_tiny_distilled_patch16_224", "DeiT", "adamw", 32),
    Network("inception_next_atto", "InceptionNeXt", "adamw", 32),
    Network("visformer_tiny", "Visformer", "adamw", 32),
    Network("vit_tiny_patch16_224", "ViT", "adamw", 64),
    Network("mobilevit_xxs", "MobileViT", "adamw", 64),
    Network("repvgg_a0", "RepVGG", "sgd", 32),
    Network("nf_regnet_b0", "RegNet without norm layers", "sgd", 32),
    Network("hrnet_w18_small", "HRNet", "sgd", 32),
    Network("cait_xxs24_224", "CaiT", "adamw", 32),
    Network("resmlp_12_224", "ResMLP", "adamw", 32),
    Network("poolformer_s12", "PoolFormer", "adamw", 32),
    Network("mobileone_s0", "MobileOne", "sgd", 32),
    Network("gmlp_s16_224", "gMLP", "adamw", 32),
    Network("mixer_s32_224", "MLP-Mixer", "adamw", 64),
    Network("efficientnet_b0", "EfficientNet", "sgd", 32),
    Network("tf_efficientnetv2_b0", "EfficientNet V2", "sgd", 32),
)

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer.name": "sgd", "find_lr.start_lr": 1e-4, "find_lr.end_lr": 10},
    "adamw": {
        "optimizer.name": "adamw",
        "optimizer.nesterov": "false",
        "optimizer.weight_decay": 0.05,
        "optimizer.decay_norm_and_bias": "false",
        "find_lr.start_lr": 1e-6,
        "find_lr.end_lr": 1,
    },
}
"""What each optimizer changes of the recipe."""

TYPICAL = {"sgd": 0.11, "adamw": 0.01}
"""What a network without a suggestion is trained with: what `train --max-lr auto` then names."""

COMMON: dict[str, Any] = {
    "data.source": "image_folder",
    "data.batch_size": 32,
    "data.drop_last": "false",
    "model.source": "timm",
    "schedule.epochs": 2,
}


def main() -> None:
    """Runs one network after another, a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--network", action="append", help="only this one; repeatable")
    own, options = words_and_options()
    asked = parser.parse_args(own)
    done = _rows_before()
    for network in NETWORKS:
        if network.architecture in done or (asked.network and network.architecture not in asked.network):
            continue
        row = measured(network, asked.images, options)
        append("architectures", {name: row.get(name) for name in COLUMNS})
        print(f"{network.architecture}: max_lr {row['max_lr']}, {told(row['valid_accuracy'])}", flush=True)


def _rows_before() -> set[str]:
    if not csv_file("architectures").is_file():
        return set()
    with csv_file("architectures").open(newline="") as opened:
        return {row["architecture"] for row in csv.DictReader(opened)}


def measured(network: Network, images: Path, options: list[str]) -> dict[str, Any]:
    """Runs the range test of a network, and a training with its suggestion if there is one."""
    values = COMMON | OPTIMIZERS[network.optimizer]
    values |= {"data.path": images, "data.image_size": network.image_size, "model.architecture": network.architecture}
    words = ["cifar10-resnet8", *(f"--set={name}={value}" for name, value in values.items()), *options]
    repeats, found = 1, onecycle("find-lr", *words, ends=(0, 4))
    if found["max_lr"] is None:  # what its message advises
        repeats, found = 3, onecycle("find-lr", *words, "--repeats", 3, ends=(0, 4))
    facts = json.loads((Path(found["run"]) / "run.json").read_text())
    row: dict[str, Any] = (
        vars(network)
        | facts
        | {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "max_lr": found["max_lr"],
            "confidence": found.get("confidence"),
            "repeats": repeats,
            "images": images,
            "epochs": COMMON["schedule.epochs"],
            "torch": facts["versions"]["torch"],
            "timm": facts["versions"].get("timm"),
            "onecycle_cli": facts["versions"]["onecycle-cli"],
        }
    )
    how = ("--max-lr-from", found["run"]) if found["max_lr"] else ("--max-lr", TYPICAL[network.optimizer])
    trained = onecycle("train", *words, *how)
    return row | trained | {name: row[name] for name in ("max_lr", "confidence")} | {"trained_with": trained["max_lr"]}


if __name__ == "__main__":
    main()
