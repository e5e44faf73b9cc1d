"""Orders of the training images."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from onecycle_cli.data.sampling import ClassMembers, shuffled


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_shuffled_order_has_each_image_once() -> None:
    order = shuffled(50, seeded())
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() != list(range(50))


@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=60), seed=st.integers(0, 99))
def test_a_balanced_order_has_as_many_images_of_each_class_as_n_allows(labels: list[int], seed: int) -> None:
    given = torch.tensor(labels)
    order = ClassMembers.of(given).balanced(seeded(seed))
    assert len(order) == len(labels)
    counts = torch.bincount(given[order], minlength=7)[torch.bincount(given, minlength=7) > 0]
    assert counts.max() - counts.min() <= 1


def test_within_a_class_every_image_is_drawn_equally_often_and_with_replacement() -> None:
    labels = torch.tensor([0] * 90 + [2] * 10)[torch.randperm(100, generator=seeded())]
    members = ClassMembers.of(labels)
    orders = [members.balanced(seeded(seed)) for seed in range(200)]
    assert max(torch.bincount(orders[0]).tolist()) > 1
    counts = torch.bincount(torch.cat(orders), minlength=100)
    assert chisquare(counts[labels == 0]).pvalue > 1e-3
    assert chisquare(counts[labels == 2]).pvalue > 1e-3


def test_the_classes_come_in_no_order() -> None:
    labels = torch.arange(40) % 2
    first, second = (ClassMembers.of(labels).balanced(seeded(seed)) for seed in (0, 1))
    assert labels[first].tolist() != labels[second].tolist()
    assert 5 < (labels[first].diff() != 0).sum() < 35
