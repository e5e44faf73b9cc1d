"""The options of Ray: with and without an address, and what does not go together."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from onecycle_cli.cli.ray_options import ray_options, with_local_ray
from onecycle_cli.experiments.ray_cluster import RayOptions

Command = Callable[..., Result]
WORDS = ("sweep", "digits", "--device", "cpu", "--param", "model.dropout=0,0.5")


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("--ray", "--ray=local"),
        ("--ray digits --seeds 2", "--ray=local digits --seeds 2"),
        ("--ray --seeds 2", "--ray=local --seeds 2"),
        ("--ray ./recipes/my.yaml", "--ray=local ./recipes/my.yaml"),
        ("--ray head:6379 digits", "--ray head:6379 digits"),
        ("--ray 10.0.0.1:6379", "--ray 10.0.0.1:6379"),
        ("--ray auto", "--ray auto"),
        ("--ray ray://head:10001", "--ray ray://head:10001"),
        ("--ray=head:6379 digits", "--ray=head:6379 digits"),
        ("digits -- --ray", "digits -- --ray"),
    ],
)
def test_an_address_is_optional(words: str, read: str) -> None:
    assert with_local_ray(words.split()) == read.split()


def test_the_options_have_defaults() -> None:
    assert ray_options(None, None, None, None) is None
    assert ray_options("local", None, None, None) == RayOptions("local", 1, 0.0, 2)
    assert ray_options("h:1", 4, 0.5, 0) == RayOptions("h:1", 4, 0.5, 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--cpus-per-cell", "2"), "--cpus-per-cell is an option of --ray"),
        (("--gpus-per-cell", "0"), "--gpus-per-cell is an option of --ray"),
        (("--retries", "0"), "--retries is an option of --ray"),
        (("--ray", "--jobs", "2"), "--jobs and --ray exclude each other"),
        (("--ray", "--gpus-per-cell", "1"), "--gpus-per-cell is 1, and the recipe runs on cpu"),
        (("--ray", "ray://head:10001"), "--ray ray://head:10001 is no address of a head node"),
        (("--ray=head",), "--ray head is no address of a head node"),
        (("--ray", "head:0"), "--ray head:0 is no address of a head node"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_is_made(
    onecycle: Command, words: tuple[str, ...], says: str
) -> None:
    pytest.importorskip("ray")
    result = onecycle(*WORDS, *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "words", [WORDS, ("sweep-wd", "digits", "--device", "cpu"), ("tune", "digits", "--device", "cpu")]
)
def test_without_ray_the_extra_is_named(
    onecycle: Command, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = onecycle(*words, "--ray")
    assert result.exit_code == 5
    assert "--ray needs Ray, which cannot be imported." in result.stderr
    assert "pip install 'onecycle-cli[ray]'" in result.stderr
    assert not Path("runs").exists()
