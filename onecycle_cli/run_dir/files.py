"""File names of a run, the columns of its tables, and the names of its main results."""

REPEAT = "Put the file back from a copy, or repeat the run that wrote it."
"""How to fix that a file of a run is damaged or missing."""

RECIPE = "recipe.yaml"
RUN = "run.json"
SUMMARY = "summary.json"
ANNOTATIONS = "annotations.json"
IMAGES = "images.npy"
STEPS = "steps.csv"
EPOCHS = "epochs.csv"
TRAINING_FIGURE = "training.png"
PROFILE = "profile.csv"
MODEL = "model.safetensors"
BEST_MODEL = "best.safetensors"
NETWORK = "network.py"
EXPORTED = "exported-{weights}{ending}"
CHECKPOINT = "checkpoint-{step}.safetensors"
LR_RANGE = "lr_range.csv"
FIRST_LR_RANGE = "lr_range_first.csv"
LR_RANGE_FIGURE = "lr_range.png"
SUGGESTION = "suggestion.json"
VERIFY = "verify.csv"
SWEEP = "sweep.csv"
SWEEP_FIGURE = "sweep.png"
SWEEP_PLAN = "sweep.json"
RANKING = "ranking.csv"
REPRODUCTION = "reproduction.csv"
ORDER = "order.csv"
REPRODUCTION_FIGURE = "reproduction.png"
REPRODUCTION_PLAN = "reproduce.json"
TRACEBACK = "traceback.txt"
BATCH_SIZE = "batch_size.csv"
TUNE_STATE = "tune.json"
REPORT = "report.html"
TUNE_REPORT = "tune.md"
TUNED_RECIPE = "tuned.yaml"
PER_CLASS = "per_class.csv"
CONFUSION = "confusion_matrix.csv"
CONFUSION_FIGURE = "confusion_matrix.png"
WRONG = "wrong_predictions.csv"
WRONG_PICTURES = "wrong_predictions.png"
TENSORBOARD = "tensorboard"
"""The folder of TensorBoard's event files."""
WANDB = "wandb"
"""The folder that W&B makes in the folder of a run."""
SENT = "sent-to-{receiver}.json"
"""What a receiver of rows has of a run."""
CELL_LOCK = ".{cell}.lock"
"""The lock file of a cell, in the folder of its sweep."""
LOCK = ".lock"
"""The lock file of a run, in its folder; the names of all lock files end with it."""
TRASH = ".trash"
"""The folder of removed runs, in the folder of runs."""
UNFINISHED = ".unfinished-"
"""The mark in the folder name of an interrupted sweep cell, kept beside the folder that replaced it."""

LASTING = (
    *(RECIPE, SUMMARY, NETWORK, IMAGES, STEPS, EPOCHS, PROFILE, MODEL, BEST_MODEL, TRAINING_FIGURE),
    *(LR_RANGE, FIRST_LR_RANGE, SUGGESTION, VERIFY, LR_RANGE_FIGURE, BATCH_SIZE),
    *(SWEEP, SWEEP_PLAN, RANKING, SWEEP_FIGURE, REPRODUCTION, ORDER, REPRODUCTION_PLAN, REPRODUCTION_FIGURE),
    *(TUNE_STATE, TUNED_RECIPE, TUNE_REPORT, PER_CLASS, CONFUSION, CONFUSION_FIGURE, WRONG, WRONG_PICTURES),
)
"""The files that nothing changes once their run has ended."""
BEFORE_TRAINING = (LR_RANGE, FIRST_LR_RANGE, SUGGESTION, VERIFY, LR_RANGE_FIGURE, PROFILE)
"""The files of a training that nothing changes from its first step on."""

STEPS_COLUMNS = ("step", "epoch", "lr", "momentum", "train_loss")
EPOCHS_COLUMNS = (
    *("epoch", "step", "lr", "momentum"),
    *("train_loss", "train_accuracy"),
    *("valid_loss", "valid_accuracy", "valid_balanced_accuracy", "valid_top5_accuracy"),
    *("seconds", "images_per_second"),
)
PROFILE_COLUMNS = ("part", "milliseconds", "share")
LR_RANGE_COLUMNS = ("seed", "step", "lr", "momentum", "train_loss", "smoothed_loss")
LR_RANGE_VALID_COLUMNS = (*LR_RANGE_COLUMNS, "valid_loss", "valid_accuracy")
VERIFY_COLUMNS = ("max_lr", "steps", "valid_loss", "valid_accuracy")
ERROR_BAR = ("expected_points_lost", "points_lost_90", "lowest_max_lr", "highest_max_lr")
"""The error bar of a suggestion; runs of older versions have none."""
RANGE_CELL_COLUMNS = (
    *("argmin_lr", "onset_lr", "reach_lr", "stop_lr", "max_lr", "confidence"),
    *ERROR_BAR,
    *("status", "error"),
)
TRAIN_CELL_COLUMNS = (
    *("max_lr", "epochs", "train_loss", "train_accuracy"),
    *("valid_loss", "valid_accuracy", "valid_balanced_accuracy", "valid_top5_accuracy", "best_valid_accuracy"),
    *("test_loss", "test_accuracy", "test_balanced_accuracy", "test_top5_accuracy", "status", "error"),
)
RANKING_COLUMNS = ("n", "valid_loss", "valid_loss_sd", "valid_accuracy", "valid_accuracy_sd", "not_finished")
BATCH_SIZE_COLUMNS = ("batch_size", "status", "images_per_second", "peak_memory_gib")
PER_CLASS_COLUMNS = ("class", "images", "correct", "recall", "precision")
REPRODUCTION_COLUMNS = (
    *("experiment", "recipe", "epochs", "published_epochs", "n", "not_finished"),
    *("valid_accuracy", "valid_accuracy_sd", "valid_loss"),
    *("blog_accuracy", "blog_loss", "paper_accuracy", "paper_accuracy_sd", "difference", "standard_error", "verdict"),
)
ORDER_COLUMNS = (
    *("better", "worse", "claim", "published_difference", "published_error"),
    *("difference", "standard_error", "order"),
)
WRONG_COLUMNS = ("image", "true", "predicted", "probability", "true_probability", "file")
SHEET_COLUMNS = 8
"""The tiles in a row of `wrong_predictions.png`."""

MAIN_RESULTS = {
    "find-lr": ("max_lr", ".3g"),
    "train": ("valid_accuracy", ".4f"),
    "sweep": ("finished", "d"),
    "sweep-wd": ("weight_decay", "g"),
    "evaluate": ("accuracy", ".4f"),
    "find-batch-size": ("batch_size", "d"),
    "tune": ("max_lr", ".3g"),
    "reproduce": ("finished", "d"),
}
"""The most telling number of each command's summary, and its format."""
