"""The cells of a grid, and what they are called."""

from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.recipe.grid import LONGEST_NAME, column_names, folder_name, grid


def test_a_grid_has_every_combination_and_the_last_field_changes_fastest() -> None:
    assert grid({"a.x": [1, 2], "b.y": ["p", "q"]}) == [
        {"a.x": 1, "b.y": "p"},
        {"a.x": 1, "b.y": "q"},
        {"a.x": 2, "b.y": "p"},
        {"a.x": 2, "b.y": "q"},
    ]


def test_a_column_is_called_by_the_last_part_unless_two_would_be_called_alike() -> None:
    assert column_names(["optimizer.weight_decay", "find_lr.mode", "schedule.mode"]) == {
        "optimizer.weight_decay": "weight_decay",
        "find_lr.mode": "find_lr.mode",
        "schedule.mode": "schedule.mode",
    }


def test_a_folder_is_named_by_its_values_as_a_person_writes_them() -> None:
    assert folder_name({"optimizer.weight_decay": 1e-3, "model.width": 2.0, "seed": 1}) == (
        "weight_decay=1e-3,width=2,seed=1"
    )
    assert folder_name({"schedule.legs": [41, 41, 13]}) == "legs=41_41_13"
    assert folder_name({"data.path": "/home/me/my photos; rm *"}) == "path=home_me_my_photos_rm"


@given(st.dictionaries(st.sampled_from(["a.b", "c.d", "seed"]), st.text(max_size=200) | st.floats(), min_size=1))
def test_whatever_the_values_it_is_one_folder_of_a_length_that_every_disk_takes(values: dict[str, object]) -> None:
    name = folder_name(values)
    assert 0 < len(name) <= LONGEST_NAME
    assert not set(name) & set("/\\ *?\"'$;&|<>()\n")


def test_long_names_that_differ_only_at_their_end_are_two_folders() -> None:
    names = {folder_name({"data.path": "x" * LONGEST_NAME, "seed": seed}) for seed in range(3)}
    assert len(names) == 3
    assert {len(name) for name in names} == {LONGEST_NAME}
