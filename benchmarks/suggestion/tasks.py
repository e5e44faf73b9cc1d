"""The tasks that suggestions are judged on: recipes that differ in what moves the best max_lr."""

import image_sets
from task import (
    ADAMW,
    ADAMW_GRID,
    GREY,
    NESTEROV,
    Task,
    changes,
    constant_momentum,
    image_fields,
    lrs,
    model_fields,
    networks_py,
    some,
    whole_or_subset,
)

FIRST = {
    "cifar10-resnet8-512": Task("cifar10-resnet8", changes(5, 512, 5e-4), whole_or_subset("cifar10")),
    "cifar10-10000-resnet20-128": Task("cifar10-resnet20", changes(5, 128, 5e-4), whole_or_subset("cifar10", 10_000)),
    "cifar10-10000-resnet8-512": Task("cifar10-resnet8", changes(5, 512, 0.0), whole_or_subset("cifar10", 10_000)),
    "cifar10-5000-resnet8-32": Task("cifar10-resnet8", changes(5, 32, 5e-4), whole_or_subset("cifar10", 5_000)),
    "cifar10-5000-resnet8-128-long": Task(
        "cifar10-resnet8", changes(20, 128, 5e-3, model__width=0.5, **NESTEROV), whole_or_subset("cifar10", 5_000)
    ),
    "cifar10-5000-resnet8-128-adamw": Task(
        "cifar10-resnet8", changes(5, 128, 5e-3, **ADAMW), whole_or_subset("cifar10", 5_000), ADAMW_GRID
    ),
    "cifar10-5000-resnet8-128": Task("cifar10-resnet8", changes(5, 128, 5e-4), whole_or_subset("cifar10", 5_000)),
    "cifar10-5000-resnet8-128-constant": Task(
        "cifar10-resnet8",
        changes(5, 128, 5e-4, schedule__max_momentum=0.9, schedule__base_momentum=0.9),
        whole_or_subset("cifar10", 5_000),
    ),
    "mnist-2000-resnet8-128": Task("mnist-resnet8", changes(5, 128, 5e-4), whole_or_subset("mnist", 2_000)),
    "mnist-resnet8-512": Task("mnist-resnet8", changes(2, 512, 5e-4), whole_or_subset("mnist")),
    "mnist-2000-resnet8-32": Task("mnist-resnet8", changes(5, 32, 5e-4), whole_or_subset("mnist", 2_000)),
    "mnist-2000-resnet9-128": Task(
        "mnist-resnet8",
        changes(5, 128, 5e-4, model__architecture="resnet9", model__width=0.25, **NESTEROV),
        whole_or_subset("mnist", 2_000),
    ),
    "mnist-2000-resnet8-128-adamw-long": Task(
        "mnist-resnet8", changes(20, 128, 5e-4, **ADAMW), whole_or_subset("mnist", 2_000), ADAMW_GRID
    ),
    "cats-and-dogs-resnet8-64": Task(
        "cifar10-resnet8", changes(5, 64, 1e-3), whole_or_subset("cifar10", 4_000, ("cat", "dog")), classes=2
    ),
    "mnist-2000-resnet20-64-smoothed": Task(
        "mnist-resnet8",
        changes(5, 64, 1e-4, model__architecture="resnet20", optimizer__label_smoothing=0.1, model__dropout=0.1),
        whole_or_subset("mnist", 2_000),
    ),
    "digits-resnet8-64": Task("digits", changes(15, 64, 1e-4)),
}


FITTED = {
    "mnist-2000-mlp-8-long": Task(
        "cifar10-resnet8",
        changes(
            20, 8, 0.0, **image_fields(28, 1), **GREY, **networks_py("mlp", image_size=28), **constant_momentum(0.0)
        ),
        some("mnist", 2_000),
        part="fitted",
    ),
    "mnist-mlp-2048": Task(
        "cifar10-resnet8",
        changes(2, 2048, 5e-4, **image_fields(28, 1), **GREY, **networks_py("mlp", image_size=28)),
        some("mnist", 60_000),
        part="fitted",
    ),
    "cifar10-2000-cnn-without-norm-64": Task(
        "cifar10-resnet8",
        changes(
            8,
            64,
            5e-4,
            **image_fields(16, 3),
            **model_fields(0.5, architecture="cnn", norm="none"),
            **constant_momentum(0.9),
        ),
        some("cifar10", 2_000),
        lrs(10**-3.6),
        part="fitted",
    ),
    "cifar10-2000-vit-64-adamw": Task(
        "cifar10-resnet8",
        changes(10, 64, 0.1, **image_fields(16, 3), **networks_py("vit", image_size=16), **ADAMW),
        some("cifar10", 2_000),
        lrs(10**-4.4),
        part="fitted",
    ),
    "sign-digits-resnet8-group-norm-32": Task(
        "cifar10-resnet8",
        changes(5, 32, 5e-4, **image_fields(16, 3), **model_fields(0.5, norm="group")),
        whole_or_subset("sign-digits"),
        part="fitted",
    ),
    "clothing-resnet8-64-pixels-32-nesterov": Task(
        "cifar10-resnet8",
        changes(1, 32, 5e-4, **image_fields(64, 3), **model_fields(0.25), **NESTEROV),
        some("clothing", 1_500),
        part="fitted",
    ),
    "trash-cnn-32-adamw": Task(
        "cifar10-resnet8",
        changes(4, 32, 1e-2, **image_fields(32, 3), **model_fields(0.5, architecture="cnn"), **ADAMW),
        whole_or_subset("trash"),
        ADAMW_GRID,
        part="fitted",
        classes=6,
    ),
    "cifar10-rotated-4000-resnet8-256": Task(
        "cifar10-resnet8",
        changes(8, 256, 5e-4, **image_fields(16, 3, horizontal_flip=False), **model_fields(0.5)),
        lambda data: image_sets.rotated(data / "cifar10", 4_000),
        part="fitted",
        classes=40,
    ),
    "sign-digits-fine-tuned-64": Task(
        "cifar10-resnet8",
        changes(4, 64, 5e-4, **image_fields(32, 3), **model_fields(0.5)),
        whole_or_subset("sign-digits"),
        part="fitted",
        starts_trained=True,
    ),
    "cats-and-dogs-2000-mixup-64": Task(
        "cifar10-resnet8",
        changes(6, 64, 5e-4, **image_fields(16, 3), **model_fields(1), augmentation={"mixup": 0.2})
        | {"optimizer.label_smoothing": 0.1},
        some("cifar10", 2_000, classes=("cat", "dog")),
        part="fitted",
        classes=2,
    ),
    "cifar10-2000-cnn-unnormalized-32": Task(
        "cifar10-resnet8",
        changes(
            5,
            32,
            0.0,
            **image_fields(16, 3, mean=[0.0] * 3, std=[1 / 255] * 3),
            **model_fields(0.5, architecture="cnn", norm="none"),
            **constant_momentum(0.0),
            find_lr__start_lr=1e-6,
            find_lr__end_lr=1.0,
        ),
        some("cifar10", 2_000),
        lrs(10**-5.6),
        part="fitted",
    ),
    "cifar10-2000-wrong-labels-resnet20-64": Task(
        "cifar10-resnet20",
        changes(6, 64, 5e-4, **image_fields(16, 3), **model_fields(0.5)),
        lambda data: image_sets.with_wrong_labels(image_sets.some(data / "cifar10", 2_000), 0.3),
        part="fitted",
    ),
}

CHECKED = {
    "mnist-pairs-4000-resnet8-256": Task(
        "cifar10-resnet8",
        changes(8, 256, 5e-4, **image_fields(20, 1, resize="squash", padding=2), **GREY, **model_fields(0.5)),
        lambda data: image_sets.pairs(data / "mnist", 4_000),
        part="checked",
        classes=100,
    ),
    "cifar10-rotated-4000-resnet8-64-adamw": Task(
        "cifar10-resnet8",
        changes(6, 64, 1e-2, **image_fields(16, 3, horizontal_flip=False), **model_fields(0.5), **ADAMW),
        lambda data: image_sets.rotated(data / "cifar10", 4_000),
        ADAMW_GRID,
        part="checked",
        classes=40,
    ),
    "cifar10-and-mnist-3000-vit-32-adamw": Task(
        "cifar10-resnet8",
        changes(
            4, 32, 0.05, **image_fields(16, 3, horizontal_flip=False), **networks_py("vit", image_size=16), **ADAMW
        ),
        lambda data: image_sets.joined(data / "cifar10", data / "mnist", 3_000),
        lrs(10**-4.4),
        part="checked",
        classes=20,
    ),
    "mnist-2000-wrong-labels-mlp-16": Task(
        "cifar10-resnet8",
        changes(
            8, 16, 5e-4, **image_fields(28, 1), **GREY, **networks_py("mlp", image_size=28), **constant_momentum(0.9)
        ),
        lambda data: image_sets.with_wrong_labels(image_sets.some(data / "mnist", 2_000), 0.3),
        lrs(10**-3.6),
        part="checked",
    ),
    "clothing-convnext-32-adamw": Task(
        "cifar10-resnet8",
        changes(2, 32, 0.05, **image_fields(32, 3), model={"source": "timm", "architecture": "test_convnext"}, **ADAMW),
        whole_or_subset("clothing"),
        ADAMW_GRID,
        part="checked",
    ),
    "trash-efficientnet-32": Task(
        "cifar10-resnet8",
        changes(3, 32, 1e-4, **image_fields(32, 3), model={"source": "timm", "architecture": "test_efficientnet"}),
        whole_or_subset("trash"),
        part="checked",
        classes=6,
    ),
    "fours-and-nines-1000-cnn-16-nesterov": Task(
        "cifar10-resnet8",
        changes(
            4,
            16,
            0.0,
            **image_fields(28, 1),
            **GREY,
            **model_fields(0.25, architecture="cnn", norm="none"),
            **NESTEROV,
            **constant_momentum(0.9),
        ),
        some("mnist", 1_000, classes=("4", "9")),
        lrs(10**-3.6),
        part="checked",
        classes=2,
    ),
    "sign-digits-resnet8-8": Task(
        "cifar10-resnet8",
        changes(2, 8, 5e-3, **image_fields(24, 3), **model_fields(0.5)),
        whole_or_subset("sign-digits"),
        lrs(10**-3.2),
        part="checked",
    ),
    "trash-head-alone-32": Task(
        "cifar10-resnet8",
        changes(
            4,
            32,
            0.0,
            **image_fields(32, 3),
            **model_fields(0.5),
            fine_tune={"stages": [{"freeze_to": "head", "epochs": 4}]},
        ),
        whole_or_subset("trash"),
        lrs(10**-2.8),
        part="checked",
        starts_trained=True,
        classes=6,
    ),
    "clothing-unequal-fine-tuned-discriminative-64": Task(
        "cifar10-resnet8",
        changes(5, 64, 5e-4, **image_fields(32, 3), **model_fields(0.5), schedule__max_lr=[0.01, 0.1]),
        some("clothing", 2_000, unequal=0.7),
        part="checked",
        starts_trained=True,
    ),
    "cifar10-5000-resnet8-wide-1024": Task(
        "cifar10-resnet8",
        changes(10, 1024, 5e-4, **image_fields(12, 3, padding=1), **model_fields(2)),
        some("cifar10", 5_000),
        part="checked",
    ),
    "mnist-resnet8-512-small": Task(
        "cifar10-resnet8",
        changes(1, 512, 5e-4, **image_fields(14, 1, padding=1), **GREY, **model_fields(0.25)),
        some("mnist", 60_000),
        part="checked",
    ),
    "digits-vit-32": Task(
        "digits",
        changes(6, 32, 5e-4, **networks_py("vit", image_size=8, patch=2, width=32), **constant_momentum(0.9)),
        part="checked",
    ),
}

HELD_OUT = {
    "trash-vit-32-adamw": Task(
        "cifar10-resnet8",
        changes(4, 32, 0.05, **image_fields(32, 3), model={"source": "timm", "architecture": "test_vit"}, **ADAMW),
        whole_or_subset("trash"),
        lrs(10**-4.4),
        part="held out",
        classes=6,
    ),
    "clothing-nfnet-64": Task(
        "cifar10-resnet8",
        changes(
            4,
            64,
            5e-4,
            **image_fields(32, 3),
            model={"source": "timm", "architecture": "test_nfnet"},
            **constant_momentum(0.9),
        ),
        whole_or_subset("clothing"),
        lrs(10**-3.6),
        part="held out",
    ),
    "sign-digits-resnet-16-nesterov": Task(
        "cifar10-resnet8",
        changes(
            3, 16, 1e-4, **image_fields(32, 3), model={"source": "timm", "architecture": "test_resnet"}, **NESTEROV
        ),
        whole_or_subset("sign-digits"),
        lrs(10**-3.2),
        part="held out",
    ),
    "cifar10-2000-efficientnet-group-norm-32": Task(
        "cifar10-resnet8",
        changes(5, 32, 5e-4, **image_fields(32, 3), model={"source": "timm", "architecture": "test_efficientnet_gn"}),
        some("cifar10", 2_000),
        lrs(10**-3.2),
        part="held out",
    ),
    "mnist-pairs-4000-cnn-64-adamw": Task(
        "cifar10-resnet8",
        changes(
            6,
            64,
            0.0,
            **image_fields(20, 1, resize="squash", padding=2),
            **GREY,
            **model_fields(0.5, architecture="cnn"),
            **ADAMW,
        ),
        lambda data: image_sets.pairs(data / "mnist", 4_000),
        ADAMW_GRID,
        part="held out",
        classes=100,
    ),
    "digits-mlp-128-without-momentum": Task(
        "digits",
        changes(40, 128, 1e-3, **networks_py("mlp", image_size=8), **constant_momentum(0.0)),
        part="held out",
    ),
    "mnist-1000-resnet8-group-norm-8": Task(
        "cifar10-resnet8",
        changes(2, 8, 5e-3, **image_fields(20, 1), **GREY, **model_fields(0.5, norm="group")),
        some("mnist", 1_000),
        lrs(10**-3.2),
        part="held out",
    ),
    "ships-and-trucks-2000-unequal-resnet20-64": Task(
        "cifar10-resnet20",
        changes(6, 64, 5e-4, **image_fields(16, 3), **model_fields(0.5)),
        some("cifar10", 2_000, classes=("ship", "truck"), unequal=0.3),
        part="held out",
        classes=2,
    ),
    "cifar10-rotated-8000-resnet8-512": Task(
        "cifar10-resnet8",
        changes(
            10, 512, 0.0, **image_fields(16, 3, horizontal_flip=False), **model_fields(1), **constant_momentum(0.95)
        ),
        lambda data: image_sets.rotated(data / "cifar10", 8_000),
        part="held out",
        classes=40,
    ),
    "trash-fine-tuned-mixup-32-adamw": Task(
        "cifar10-resnet8",
        changes(3, 32, 1e-2, **image_fields(32, 3), **model_fields(0.5), augmentation={"mixup": 0.2}, **ADAMW),
        whole_or_subset("trash"),
        ADAMW_GRID,
        part="held out",
        starts_trained=True,
        classes=6,
    ),
    "sign-digits-convnext-32": Task(
        "cifar10-resnet8",
        changes(4, 32, 5e-4, **image_fields(32, 3), model={"source": "timm", "architecture": "test_convnext"}),
        whole_or_subset("sign-digits"),
        lrs(10**-3.2),
        part="held out",
    ),
    "cifar10-5000-cnn-1024-adamw": Task(
        "cifar10-resnet8",
        changes(12, 1024, 0.1, **image_fields(16, 3), **model_fields(1, architecture="cnn"), **ADAMW),
        some("cifar10", 5_000),
        ADAMW_GRID,
        part="held out",
    ),
    "clothing-wrong-labels-resnet8-32-long": Task(
        "cifar10-resnet8",
        changes(12, 32, 1e-3, **image_fields(24, 3), **model_fields(0.5), **constant_momentum(0.9)),
        lambda data: image_sets.with_wrong_labels(image_sets.some(data / "clothing", 2_000), 0.4),
        lrs(10**-3.2),
        part="held out",
    ),
    "mnist-5000-mlp-64-adamw": Task(
        "cifar10-resnet8",
        changes(5, 64, 0.1, **image_fields(28, 1), **GREY, **networks_py("mlp", image_size=28), **ADAMW),
        some("mnist", 5_000),
        lrs(10**-4.4),
        part="held out",
    ),
}

TASKS = FIRST | FITTED | CHECKED | HELD_OUT
