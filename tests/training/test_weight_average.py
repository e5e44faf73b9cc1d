"""The average of the weights, by its formula and against torch's."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from onecycle_cli.training.weight_average import WeightAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def changed(model: nn.Module) -> dict[str, torch.Tensor]:
    """Changes all weights and statistics of a network; returns copies of them."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor += 1 if tensor.dtype == torch.int64 else torch.randn_like(tensor)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999, 0.999999])
def test_the_average_is_the_weighted_mean_of_all_steps_without_the_initial_weights(decay: float) -> None:
    model = network()
    average = WeightAverage(model, decay)
    seen = []
    for _ in range(6):
        seen.append(changed(model))
        average.update()
    shares = torch.tensor([(1 - decay) * decay ** (5 - i) / (1 - decay**6) for i in range(6)], dtype=torch.float64)
    with average.in_use():
        for name, tensor in model.state_dict().items():
            values = torch.stack([one[name] for one in seen])
            if tensor.dtype == torch.int64:
                assert torch.equal(tensor, values[-1])
            else:
                torch.testing.assert_close(tensor, torch.tensordot(shares, values.double(), 1).float())


def test_after_many_steps_it_is_the_average_of_torch() -> None:
    model = network()
    ours = WeightAverage(model, 0.8)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    for _ in range(100):
        changed(model)
        ours.update()
        theirs.update_parameters(model)
    with ours.in_use():
        for mine, other in zip(model.state_dict().values(), theirs.module.state_dict().values(), strict=True):
            if mine.dtype == torch.int64:  # which torch averages, too
                continue
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_weights_that_do_not_change_keep_every_bit() -> None:
    model = network()
    average, before = WeightAverage(model, 0.999), changed(model)
    average = WeightAverage(model, 0.999)
    for _ in range(50):
        average.update()
    with average.in_use():
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_after_its_use_the_weights_are_those_of_the_last_step_also_after_an_error() -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    average.update()
    before = changed(model)
    addresses = [tensor.data_ptr() for tensor in model.state_dict().values()]
    with average.in_use():
        assert not torch.equal(model.state_dict()["0.weight"], before["0.weight"])
    with pytest.raises(ZeroDivisionError), average.in_use():
        1 / 0  # noqa: B018
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [tensor.data_ptr() for tensor in model.state_dict().values()] == addresses  # which CUDA graphs have recorded


def test_a_restored_average_goes_on_to_the_same_bits() -> None:
    model, other = network(), network()
    one, restored = WeightAverage(model, 0.9), WeightAverage(other, 0.9)
    for _ in range(3):
        changed(model)
        one.update()
    restored.restore({name: tensor.clone() for name, tensor in one.state().items()})
    other.load_state_dict(changed(model))
    one.update()
    restored.update()
    for mine, its in zip(one.state().values(), restored.state().values(), strict=True):
        assert torch.equal(mine, its)
