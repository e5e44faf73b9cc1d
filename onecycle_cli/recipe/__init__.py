"""Recipes: reads YAML into one frozen, validated object, and writes it back to YAML."""

from onecycle_cli.recipe.data_fields import DataSettings
from onecycle_cli.recipe.fields import (
    MOST_RANGE_STEPS,
    FindLrSettings,
    OptimizerSettings,
    Recipe,
    RuntimeSettings,
    SweepWdSettings,
)
from onecycle_cli.recipe.fine_tune_fields import FineTuneSettings, StageSettings
from onecycle_cli.recipe.learning_rates import lr_ratios, relative, scaled
from onecycle_cli.recipe.loading import Override, choices, dotted_values, load, parse, to_yaml, varied, with_values
from onecycle_cli.recipe.max_lr import BodyAndHead
from onecycle_cli.recipe.model_fields import ModelSettings
from onecycle_cli.recipe.schedule_fields import ScheduleSettings
from onecycle_cli.recipe.shipped import find, shipped_names, shipped_path
from onecycle_cli.recipe.stages import frozen_groups, lacks_max_lr, last_stage, stages, with_largest_max_lr, with_max_lr
from onecycle_cli.recipe.staleness import Difference, curve_settings, differences, finder_momentum, result_settings
from onecycle_cli.recipe.writing import as_written

__all__ = [
    "MOST_RANGE_STEPS",
    "BodyAndHead",
    "DataSettings",
    "Difference",
    "FindLrSettings",
    "FineTuneSettings",
    "ModelSettings",
    "OptimizerSettings",
    "Override",
    "Recipe",
    "RuntimeSettings",
    "ScheduleSettings",
    "StageSettings",
    "SweepWdSettings",
    "as_written",
    "choices",
    "curve_settings",
    "differences",
    "dotted_values",
    "find",
    "finder_momentum",
    "frozen_groups",
    "lacks_max_lr",
    "last_stage",
    "load",
    "lr_ratios",
    "parse",
    "relative",
    "result_settings",
    "scaled",
    "shipped_names",
    "shipped_path",
    "stages",
    "to_yaml",
    "varied",
    "with_largest_max_lr",
    "with_max_lr",
    "with_values",
]
