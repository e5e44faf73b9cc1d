"""The training loop against a plain one, and scoring."""

import copy
import dataclasses
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from torch import Tensor, nn
from torch.nn import functional as F

from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import FixedBatches, Normalization, TrainBatches
from onecycle_cli.data.mixing import Mixing
from onecycle_cli.data.transforms import Transforms
from onecycle_cli.models import network_from
from onecycle_cli.schedules import LrMomentum
from onecycle_cli.training import cuda_graphs as graphs
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.optimizers import build_optimizer
from onecycle_cli.training.trainer import Trainer

CPU = Hardware(torch.device("cpu"), "float32")
PLAIN = Normalization.of((0.5,), (0.25,), torch.device("cpu"))
SGD: dict[str, Any] = {"weight_decay": 1e-2, "decay_norm_and_bias": True, "nesterov": False}
SGD |= {"beta2": 0.999, "eps": 1e-8}


def batches(images: int = 40, batch_size: int = 16, seed: int = 0) -> TrainBatches:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (images, 8, 8, 1), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 3, (images,), generator=generator)
    augmentation = Augmentation(horizontal_flip=True, random_crop=True, padding=1)
    return TrainBatches(pixels, labels, PLAIN, augmentation, batch_size, drop_last=False, seed=seed)


def model(dropout: float = 0.0) -> nn.Module:
    settings: dict[str, Any] = {"width": 0.25, "shortcut_kind": "B", "dropout": dropout}
    settings |= {"architecture": "resnet8", "channels": 1, "classes": 3}
    return network_from(settings, seed=0)


def schedule(step: int) -> LrMomentum:
    return LrMomentum(0.01 * (step + 1), 0.9 - 0.01 * step)


def trainer(
    net: nn.Module | None = None, source: TrainBatches | None = None, hardware: Hardware = CPU, name: str = "sgd"
) -> Trainer:
    net = net or model()
    optimizer = build_optimizer(net, SimpleNamespace(name=name, **SGD))
    return Trainer(net, optimizer, source or batches(), label_smoothing=0.1, hardware=hardware, report=pytest.fail)


def trained(*, first_step: int = 0, net: nn.Module | None = None) -> list:
    return list(islice(trainer(net).steps(schedule, first_step=first_step), 7))


def test_the_losses_are_those_of_a_plain_loop() -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=1, momentum=0.9, weight_decay=1e-2)
    expected = []
    source = batches()
    for step, batch in enumerate(map(source.batch, islice(source.drawn(0), 7))):
        lr, momentum = schedule(step)
        for group in optimizer.param_groups:
            group["lr"], group["momentum"] = lr, momentum
        optimizer.zero_grad()
        loss = F.cross_entropy(net(batch.images), batch.labels, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    got = trained()
    assert [step.loss.item() for step in got] == pytest.approx(expected, rel=1e-4)
    assert expected[0] != pytest.approx(expected[-1], rel=1e-2)


def test_fifty_steps_at_a_small_lr_are_those_of_a_plain_loop() -> None:
    net, source = model(), batches()
    plain = dataclasses.replace(source, augmentation=Augmentation())
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-2)
    expected = []
    for batch in map(plain.batch, islice(plain.drawn(0), 50)):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(batch.images), batch.labels, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    steps = trainer(source=plain).steps(lambda _: LrMomentum(1e-3, 0.9))
    assert [step.loss.item() for step in islice(steps, 50)] == pytest.approx(expected, rel=1e-4)


def test_the_parts_of_a_step_are_all_timed() -> None:
    parts = trainer().parts_of_a_step(2)
    assert list(parts) == ["data", "forward", "backward", "update", "other"]
    assert all(seconds > 0 for seconds in parts.values())


def test_a_step_tells_what_its_update_used() -> None:
    steps = trained()
    assert [step.step for step in steps] == list(range(7))
    assert [step.epoch for step in steps] == [1, 1, 1, 2, 2, 2, 3]
    assert [step.images for step in steps] == [16, 16, 8, 16, 16, 8, 16]
    assert [(step.lr, step.momentum) for step in steps] == [schedule(step) for step in range(7)]
    assert all(0 <= int(step.correct) <= step.images for step in steps)


def test_a_loop_that_begins_later_takes_up_there() -> None:
    steps = trained(first_step=4)
    assert [(step.step, step.epoch, step.images) for step in steps[:3]] == [(4, 2, 16), (5, 2, 8), (6, 3, 16)]


def test_two_loops_with_dropout_draw_the_same_whatever_torch_drew_before() -> None:
    torch.manual_seed(1)
    one = trained(net=model(dropout=0.5))
    torch.manual_seed(2)
    other = trained(net=model(dropout=0.5))
    assert [step.loss.item() for step in one] == [step.loss.item() for step in other]
    assert one[0].loss.item() != trained()[0].loss.item()


def test_scoring_is_the_mean_over_all_images_and_leaves_the_model_as_it_is() -> None:
    net = model()
    source = batches()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    score = trainer(net).evaluate(FixedBatches(source.images, source.labels, PLAIN, 16))
    net.eval()
    logits = net(PLAIN(source.images))
    assert score.loss == pytest.approx(F.cross_entropy(logits, source.labels).item(), rel=1e-5)
    answers = logits.argmax(1)
    assert score.accuracy == int((answers == source.labels).sum()) / 40
    assert score.balanced_accuracy == pytest.approx(balanced_accuracy_score(source.labels, answers))
    assert score.answers.images == tuple(torch.bincount(source.labels, minlength=3).tolist())
    assert score.answers.answered == tuple(torch.bincount(answers, minlength=3).tolist())
    assert score.top5_accuracy is None
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_from_ten_classes_on_scoring_also_counts_the_five_most_likely() -> None:
    settings: Any = {"width": 0.25, "shortcut_kind": "B", "dropout": 0.0, "channels": 1, "classes": 10}
    net, source = network_from({"architecture": "resnet8"} | settings, seed=0), batches()
    score = trainer(net).evaluate(FixedBatches(source.images, source.labels, PLAIN, 16))
    likely = net.eval()(PLAIN(source.images)).detach()
    theirs = top_k_accuracy_score(source.labels, likely, k=5, labels=range(10))
    assert score.top5_accuracy == pytest.approx(theirs)
    assert 0 < theirs < 1


WEIGHTS = torch.tensor([0.5, 1.0, 4.0])


def weighted(label_smoothing: float) -> Trainer:
    net, source = model(), batches()
    optimizer = build_optimizer(net, SimpleNamespace(name="sgd", **SGD))
    how: Any = {"label_smoothing": label_smoothing, "class_weights": WEIGHTS, "hardware": CPU, "report": pytest.fail}
    return Trainer(net, optimizer, source, **how)


def plain_weighted(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Each image as often as its class weighs."""
    own = WEIGHTS[labels]
    targets = F.one_hot(labels, 3) * (1 - label_smoothing) + label_smoothing / 3
    return -(own * (targets * logits.log_softmax(1)).sum(1)).sum() / own.sum()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_weighted_losses_are_those_of_a_plain_loop_with_torch(label_smoothing: float) -> None:
    net, source = model(), batches()
    optimizer = torch.optim.SGD(net.parameters(), lr=1, momentum=0.9, weight_decay=1e-2)
    expected, weights = [], []
    for step, batch in enumerate(map(source.batch, islice(source.drawn(0), 7))):
        lr, momentum = schedule(step)
        for group in optimizer.param_groups:
            group["lr"], group["momentum"] = lr, momentum
        optimizer.zero_grad()
        logits = net(batch.images)
        if label_smoothing:
            loss = plain_weighted(logits, batch.labels, label_smoothing)
        else:
            loss = F.cross_entropy(logits, batch.labels, weight=WEIGHTS)
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
        weights.append(WEIGHTS[batch.labels].sum().item())
    steps = list(islice(weighted(label_smoothing).steps(schedule), 7))
    assert [step.loss.item() for step in steps] == pytest.approx(expected, rel=1e-4)
    assert [step.weight.item() for step in steps] == pytest.approx(weights)


MIXED = Transforms(mixing=Mixing(1.0, 1.0))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_losses_of_mixed_images_are_those_of_soft_labels_with_torch(
    weights: Tensor | None, label_smoothing: float
) -> None:
    net, source = model(), dataclasses.replace(batches(), transforms=MIXED)
    plain, expected, correct = copy.deepcopy(net), [], []
    optimizer = torch.optim.SGD(plain.parameters(), lr=1, momentum=0.9, weight_decay=1e-2)
    for step, batch in enumerate(map(source.batch, islice(source.drawn(0), 7))):
        lr, momentum = schedule(step)
        for group in optimizer.param_groups:
            group["lr"], group["momentum"] = lr, momentum
        optimizer.zero_grad()
        logits, share = plain(batch.images), batch.share[:, None]
        soft = share * F.one_hot(batch.labels, 3) + (1 - share) * F.one_hot(batch.labels.roll(1, 0), 3)
        if weights is None:
            loss = F.cross_entropy(logits, soft, label_smoothing=label_smoothing)
        else:
            # Each class's share of an image counts as much as the class weighs, and is smoothed by itself.
            own = soft * weights
            targets = own * (1 - label_smoothing) + own.sum(1, keepdim=True) * label_smoothing / 3
            loss = -(targets * logits.log_softmax(1)).sum() / own.sum()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
        correct.append((logits.argmax(1) == soft.argmax(1)).sum().item())
    ours = build_optimizer(net, SimpleNamespace(name="sgd", **SGD))
    how: Any = {"label_smoothing": label_smoothing, "class_weights": weights, "hardware": CPU, "report": pytest.fail}
    steps = list(islice(Trainer(net, ours, source, **how).steps(schedule), 7))
    assert [step.loss.item() for step in steps] == pytest.approx(expected, rel=1e-4)
    assert [step.correct.item() for step in steps] == correct
    if weights is None:
        assert [step.weight.item() for step in steps] == pytest.approx([16, 16, 8, 16, 16, 8, 16])


def test_without_class_weights_a_batch_weighs_its_images() -> None:
    assert [step.weight.item() for step in trained()] == [16, 16, 8, 16, 16, 8, 16]


def test_the_validation_loss_has_no_class_weights() -> None:
    source = batches()
    fixed = FixedBatches(source.images, source.labels, PLAIN, 16)
    assert weighted(0.0).evaluate(fixed) == trainer().evaluate(fixed)


def test_training_goes_on_in_training_mode_after_scoring() -> None:
    source = batches()
    fixed = FixedBatches(source.images, source.labels, PLAIN, 16)

    def losses(scored: bool) -> list[float]:
        one = trainer()
        got = []
        for step in islice(one.steps(schedule), 4):
            got.append(step.loss.item())
            if scored:
                one.evaluate(fixed)
        return got

    assert losses(scored=True) == losses(scored=False)


def test_bfloat16_is_near_float32_and_keeps_its_weights_in_float32() -> None:
    net = model()
    steps = trainer(net, hardware=Hardware(torch.device("cpu"), "bfloat16")).steps(schedule)
    got = [step.loss.item() for step in islice(steps, 7)]
    assert got == pytest.approx([step.loss.item() for step in trained()], rel=0.05)
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def frozen_but_for_the_head(net: nn.Module, *also: str) -> Trainer:
    heads = [name for name, _ in net.named_parameters() if name.startswith("head") or name.startswith(also)]
    settings = SimpleNamespace(name="sgd", **(SGD | {"weight_decay": 0.5}))
    optimizer = build_optimizer(net, settings, lr_ratios=dict.fromkeys(heads, 1.0))
    return Trainer(net, optimizer, batches(), label_smoothing=0.1, hardware=CPU, report=pytest.fail)


def test_what_the_optimizer_does_not_train_keeps_every_bit_and_its_norms_their_statistics() -> None:
    net = model()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    one = frozen_but_for_the_head(net)
    fixed = FixedBatches(one.batches.images, one.batches.labels, PLAIN, 16)
    for _ in islice(one.steps(schedule), 7):
        one.evaluate(fixed)  # after which it goes on as before
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}
    assert all(parameter.grad is None for name, parameter in net.named_parameters() if "head" not in name)


def test_a_norm_that_trains_in_a_frozen_part_changes_alone() -> None:
    net = model()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    list(islice(frozen_but_for_the_head(net, "stem.1").steps(schedule), 7))
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    statistics = {f"stem.1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    assert changed == {"head.weight", "head.bias"} | statistics


def test_a_trainer_takes_the_network_over_from_another_whatever_that_had_frozen() -> None:
    net = model()
    whole, head = trainer(net), frozen_but_for_the_head(net)
    initial = {name: value.clone() for name, value in net.state_dict().items()}
    alone = [step.loss.item() for step in islice(trainer(copy.deepcopy(net)).steps(schedule), 3)]
    list(islice(head.steps(schedule), 3))
    whole.reset(initial, SGD["weight_decay"], whole.batches)
    assert [step.loss.item() for step in islice(whole.steps(schedule), 3)] == alone
    before = net.get_buffer("stem.1.running_mean").clone()
    list(islice(head.steps(schedule), 3))
    assert torch.equal(net.get_buffer("stem.1.running_mean"), before)


def test_a_reset_trainer_is_as_good_as_new() -> None:
    net = model()
    initial = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    one = trainer(net)
    first = [step.loss.item() for step in islice(one.steps(schedule), 7)]
    one.reset(initial, SGD["weight_decay"], one.batches)
    assert [step.loss.item() for step in islice(one.steps(schedule), 7)] == first
    one.reset(initial, 0.5, one.batches)
    assert [step.loss.item() for step in islice(one.steps(schedule), 7)] != first


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_trainer_that_is_restored_goes_on_to_the_same_bits(name: str) -> None:
    one, other = (trainer(name=name) for _ in range(2))
    list(islice(one.steps(schedule), 5))
    state = {name: tensor.clone() for name, tensor in one.state().items()}
    losses = [step.loss.item() for step in islice(one.steps(schedule, first_step=5), 7)]
    list(islice(other.steps(schedule), 3))
    other.restore(state)
    assert [step.loss.item() for step in islice(other.steps(schedule, first_step=5), 7)] == losses
    for kept, gone_on in zip(one.state().values(), other.state().values(), strict=True):
        assert torch.equal(kept, gone_on)


def test_a_state_of_another_network_or_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="another"):
        trainer().restore(trainer(name="adamw").state())


@pytest.fixture
def same_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions on a GPU that give the same twice, and compute in float32 where that is asked for."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def gently(_: int) -> LrMomentum:
    return LrMomentum(0.001, 0.9)


def on_gpu(precision: str, name: str = "sgd", dropout: float = 0.0, weights: Tensor | None = None) -> Trainer:
    cuda = Hardware(torch.device("cuda"), precision)
    source, normalization = batches(), Normalization.of((0.5,), (0.25,), cuda.device)
    moved = TrainBatches(
        source.images.cuda(), source.labels.cuda(), normalization, source.augmentation, 16, drop_last=False, seed=0
    )
    net = model(dropout).to("cuda").to(memory_format=torch.channels_last)
    optimizer = build_optimizer(net, SimpleNamespace(name=name, **SGD))
    weights = None if weights is None else weights.cuda()
    how: Any = {"label_smoothing": 0.1, "class_weights": weights, "hardware": cuda, "report": pytest.fail}
    return Trainer(net, optimizer, moved, **how)


@pytest.mark.gpu
@pytest.mark.usefixtures("same_kernels")
def test_on_a_gpu_the_losses_are_those_of_the_cpu() -> None:
    # 40 steps: the graphs of the whole batches and of the short last one are recorded on the way.
    got = [step.loss.item() for step in islice(on_gpu("float32").steps(gently), 40)]
    expected = [step.loss.item() for step in islice(trainer().steps(gently), 40)]
    assert got == pytest.approx(expected, rel=1e-3)


@pytest.mark.gpu
@pytest.mark.usefixtures("same_kernels")
@pytest.mark.parametrize(
    ("name", "dropout", "weights"),
    [("sgd", 0.0, None), ("sgd", 0.5, None), ("adamw", 0.0, None), ("sgd", 0.0, WEIGHTS)],
)
def test_on_a_gpu_replayed_steps_and_scores_are_the_eager_ones(
    monkeypatch: pytest.MonkeyPatch, name: str, dropout: float, weights: Tensor | None
) -> None:
    def seen() -> list[float]:
        one = on_gpu("float32", name, dropout, weights)
        initial = {key: value.clone() for key, value in one.model.state_dict().items()}
        fixed = FixedBatches(one.batches.images, one.batches.labels, one.batches.normalization, 16)
        found = []
        for weight_decay in (1e-2, 0.5):  # the second time all steps are replays
            one.reset(initial, weight_decay, one.batches)
            for step in islice(one.steps(gently), 50):
                score = one.evaluate(fixed)
                assert sum(score.answers.answered) == sum(score.answers.images) == 40
                found += [step.loss.item(), step.weight.item(), score.loss]
        return found

    replayed = seen()
    monkeypatch.setattr(graphs, "WARM_UP", 1000)
    assert replayed == pytest.approx(seen(), rel=1e-4)


@pytest.mark.gpu
@pytest.mark.usefixtures("same_kernels")
def test_on_a_gpu_lr_and_momentum_move_in_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    replayed = [step.loss.item() for step in islice(on_gpu("float32").steps(schedule), 12)]
    monkeypatch.setattr(graphs, "WARM_UP", 1000)
    eager = [step.loss.item() for step in islice(on_gpu("float32").steps(schedule), 12)]
    assert replayed == pytest.approx(eager, rel=1e-2)
    assert replayed != pytest.approx(
        [step.loss.item() for step in islice(on_gpu("float32").steps(gently), 12)], rel=1e-2
    )


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_on_a_gpu_no_step_waits_for_the_device(weights: Tensor | None) -> None:
    steps = on_gpu("bfloat16", weights=weights).steps(schedule)
    list(islice(steps, 30))
    try:
        torch.cuda.set_sync_debug_mode("error")
        list(islice(steps, 30))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_on_a_gpu_images_on_the_host_give_the_same_batches() -> None:
    one, other = on_gpu("float32"), on_gpu("float32")
    other.batches = dataclasses.replace(
        other.batches, images=other.batches.images.cpu(), labels=other.batches.labels.cpu()
    )
    for mine, its in zip(islice(one.batches.drawn(0), 5), islice(other.batches.drawn(0), 5), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, its, strict=True))
