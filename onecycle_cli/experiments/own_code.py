"""Code of the user that makes a network: whether it may run, what a run keeps of it, and whether it has changed."""

import hashlib
from typing import TYPE_CHECKING, Any

from onecycle_cli.errors import InputError, naming
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.files import NETWORK
from onecycle_cli.run_dir.run import RunDir

if TYPE_CHECKING:
    from onecycle_cli.models.own_code import OwnCode

NETWORK_SHA256 = "network_sha256"
"""The name of the hash of the file that makes the network, in `run.json` and among the settings of a result."""


def own_code_settings(recipe: Recipe) -> dict[str, Any]:
    """Returns the hash of the user's file that makes the network, as a setting; empty if there is no such file."""
    if recipe.model.source != "module":
        return {}
    from onecycle_cli.models.sources.module import source_hash

    return {NETWORK_SHA256: source_hash(recipe.model.function)}


def must_be_trusted(recipe: Recipe, code: "OwnCode | None") -> None:
    """Raises `InputError` if the network of a recipe is code of the user that is not trusted, or is not there."""
    if recipe.model.source == "module" and not (code is not None and code.trusted):
        raise InputError(
            f"The network of this recipe is code that is not part of onecycle: {recipe.model.function}.",
            "Read that code. If you trust it, add --trust-code (in Python: trust_code=True).",
        )
    if recipe.model.source == "python" and (code is None or code.network is None):
        raise InputError(
            f"The network of this run is an object of class {recipe.model.class_name} that was given in Python, and is "
            "not stored.",
            "Train again in Python, with model=. A function in a file, with model.source module, can be resumed.",
        )


def keep_code(recipe: Recipe, run: RunDir) -> None:
    """Keeps a copy of the user's file that makes the network, and its hash; `InputError` if it changed on the way."""
    if recipe.model.source != "module":
        return
    from onecycle_cli.models.sources.module import changed, source_file

    file = source_file(recipe.model.function)
    if file is None:
        return
    with naming(file):
        content = file.read_bytes()  # with every byte, so that the copy has the hash of the file
    sha256 = hashlib.sha256(content).hexdigest()
    if run.facts.get(NETWORK_SHA256, sha256) != sha256:
        raise changed(recipe.model.function)
    run.update(**{NETWORK_SHA256: sha256})
    run.write_with(NETWORK, lambda beside: beside.write_bytes(content))
