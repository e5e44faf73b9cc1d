"""How a training that was ended before its end goes on: from which checkpoint, on which machine, on which cycle."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from onecycle_cli.analysis.diagnosis.statement import Statement
from onecycle_cli.data.epochs import steps_per_epoch
from onecycle_cli.data.open_data import source_signature
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.checkpoints import Checkpoint, newest_checkpoint
from onecycle_cli.experiments.following import Following
from onecycle_cli.experiments.own_code import must_be_trusted
from onecycle_cli.experiments.planning import of_length, recipe_schedule
from onecycle_cli.experiments.prepared_recipe import prepare
from onecycle_cli.experiments.session import Session, hardware_facts, session_of_ranks
from onecycle_cli.experiments.training import Training, train_with
from onecycle_cli.models import NO_CODE, OwnCode
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe, load, to_yaml, with_values
from onecycle_cli.run_dir.files import BEFORE_TRAINING, LR_RANGE, PROFILE, RECIPE
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware, resolve_hardware
from onecycle_cli.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Resumption:
    """A training that can go on: where from (None: the beginning), and `notes`, what is to be told of it."""

    recipe: Recipe
    hardware: Hardware
    checkpoint: Checkpoint | None
    notes: list[str]


def resumption(
    run: RunDir,
    report: Report,
    *,
    epochs: int | None = None,
    reschedule: bool = False,
    force: bool = False,
    ranks: Ranks = ALONE,
) -> Resumption:
    """What is to be done to go on with the training in `run`; nothing is changed yet.

    With `epochs` and `reschedule` it goes on at its step of a cycle of so many epochs. `InputError` where the run is no
    training, runs, has ended, is damaged, or was of images that have changed since, which `force` lets pass.
    """
    facts = run.facts
    _must_be_open(run, facts)
    recipe = load(run.intact(RECIPE))
    hardware = resolve_hardware(recipe.runtime.device, facts["precision"], ranks)
    checkpoint = newest_checkpoint(run, report)
    notes = _other_ranks(facts, ranks) or _other_machine(facts, hardware)
    if checkpoint is None:
        notes.append("There is no checkpoint yet: it begins again.")
    else:
        of_epochs = recipe.schedule.epochs
        notes.append(f"Going on at step {checkpoint.position.step}, in a training of {of_epochs} epochs.")
        if checkpoint.images != source_signature(recipe.data) and not force:
            where = getattr(recipe.data, "path", recipe.data.source)
            what = f"The images in {where} have changed since {run.path} began."
            raise InputError(what, "Put them back as they were, train anew, or go on all the same with --force.")
    if epochs is not None and epochs != recipe.schedule.epochs:
        longer, told = _rescheduled(recipe, epochs, checkpoint, facts)
        if not reschedule:
            raise InputError(told, "Add --reschedule to go on so, or leave --epochs out.")
        recipe = longer
        notes.append(told)
    return Resumption(recipe, hardware, checkpoint, notes)


def resume(
    run: RunDir,
    report: Report,
    *,
    epochs: int | None = None,
    reschedule: bool = False,
    force: bool = False,
    code: OwnCode = NO_CODE,
    ranks: Ranks = ALONE,
    launch: str | None = None,
) -> Training:
    """Goes on with the training in `run` from its last checkpoint, to the end that it would have come to.

    With `epochs` and `reschedule` it goes on at its step of a cycle of so many epochs. `force` accepts images that have
    changed since. `code` says whether the function that made the network may run, if it is one of the user's. `launch`
    is the key of what may start this process again, for the run's facts. Of several `ranks`, which may be more or fewer
    than before, the first reads and writes the folder.
    `InputError` where the run is no training, still runs, has ended, or is damaged, or where its code is not trusted.
    """
    with run.alone() if ranks.first else nullcontext():
        resumed = ranks.from_first(
            lambda: resumption(run, report, epochs=epochs, reschedule=reschedule, force=force, ranks=ranks)
        )
        recipe, precision = resumed.recipe, resumed.hardware.precision

        def hardware_here() -> Hardware:
            must_be_trusted(recipe, code)
            return resolve_hardware(recipe.runtime.device, precision, ranks)

        def opened() -> RunDir:
            run.resume(kept=BEFORE_TRAINING if resumed.checkpoint is not None else ())
            run.update(ranks=ranks.count, **({} if launch is None else {"launch": launch}))
            return run

        session = session_of_ranks(opened, ranks.together(hardware_here), report, code, ranks)
        with Following(recipe, session) as session, session.run.recording():
            return _resume(resumed, session)


def ended(run: RunDir) -> Training | None:
    """Returns the result of a training that has come to its end, read from its `summary.json`; None for an open one."""
    status, summary = run.status, run.summary
    if status not in ("finished", "diverged", "collapsed"):
        return None
    if found := summary["diagnosis"]:
        summary["diagnosis"] = Statement.of(found)
    return Training(status, summary)


def _resume(resumed: Resumption, session: Session) -> Training:
    run, facts = session.run, session.run.facts
    for text in resumed.notes:
        session.note(text)
    # The range test and the profile come before the first step, and a part of either is of no use.
    is_range_test_left = facts.get("auto", False) and "found_max_lr" not in facts
    if resumed.checkpoint is None and session.ranks.first:
        for name in (LR_RANGE, PROFILE) if is_range_test_left else (PROFILE,):
            (run.path / name).unlink(missing_ok=True)
    run.write_text(RECIPE, to_yaml(resumed.recipe))
    prepared = prepare(resumed.recipe, session)
    return train_with(resumed.recipe, prepared, session, auto=is_range_test_left, checkpoint=resumed.checkpoint)


def _must_be_open(run: RunDir, facts: Mapping[str, Any]) -> None:
    if facts["command"] != "train":
        fix = "A sweep and tune go on where the same command is given again."
        raise InputError(f"{run.path} is a run of {facts['command']}, and only trainings are resumed.", fix)
    match run.status:
        case "running":
            what = f"{run.path} is running, as process {facts['pid']} on {facts['host']}."
            raise InputError(what, "Wait for it, or end it first.")
        case "finished" | "collapsed" as status:
            fix = f"`onecycle train --init {run.path}` begins another cycle with its weights."
            raise InputError(f"{run.path} has come to its end ({status}).", fix)
        case "diverged":
            fix = "Train anew with a lower --max-lr; `onecycle diagnose` says more."
            raise InputError(f"{run.path} diverged. Resumed, it would diverge in the same way.", fix)


def _other_machine(facts: Mapping[str, Any], hardware: Hardware) -> list[str]:
    """Why the last bits of the result may be others than if the run had not been stopped."""
    names = ("device_name", "threads")
    here, there = hardware_facts(hardware), {name: facts[name] for name in names}
    changed = [f"{name} is {here[name]}, was {there[name]}" for name in names if here[name] != there[name]]
    return [f"Another machine: {', '.join(changed)}. The last digits may differ."] if changed else []


def _other_ranks(facts: Mapping[str, Any], ranks: Ranks) -> list[str]:
    """Why the result may be another than if the run had gone on with as many processes as it began with."""
    before = facts.get("ranks", 1)
    if before == ranks.count:
        return []
    return [
        f"The number of processes is {ranks.count}, was {before}. Batches, draws and schedule are the same; the last "
        "digits differ, and without runtime.sync_batch_norm the statistics of batch norm do."
    ]


def _rescheduled(
    recipe: Recipe, epochs: int, checkpoint: Checkpoint | None, facts: Mapping[str, Any]
) -> tuple[Recipe, str]:
    """The recipe with so many epochs, and what that does to lr from the checkpoint on."""
    if checkpoint is None:
        raise InputError("There is no checkpoint yet, so nothing to go on with.", "Train anew with --epochs.")
    if recipe.fine_tune is not None:
        raise InputError("The length of a training in stages cannot be changed on the way.", "Leave --epochs out.")
    done = checkpoint.position.step
    per_epoch = steps_per_epoch(facts["images"]["train"], recipe.data.batch_size, drop_last=recipe.data.drop_last)
    if epochs * per_epoch <= done:
        ended = f"Of {epochs} epochs of {per_epoch} steps, none is left after {done} steps."
        raise InputError(ended, "Give more --epochs.")
    longer = with_values(recipe, of_length(recipe, epochs))
    before, after = (recipe_schedule(one, per_epoch)(done).lr for one in (recipe, longer))
    of_now = f"{recipe.schedule.epochs} epochs ({recipe.schedule.epochs * per_epoch} steps)"
    of_then = f"{epochs} epochs ({epochs * per_epoch} steps)"
    return longer, f"At step {done}, lr is {before:.3g} in a cycle of {of_now}, and {after:.3g} in one of {of_then}."
