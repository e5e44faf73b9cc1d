"""The floor: a plain PyTorch loop over one resident batch. It imports nothing of onecycle.

    python benchmarks/contenders/bare.py --precision bfloat16 --steps 20

Prints one JSON object: images a second of training and of a forward pass, and the peak memory of the process.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(x), inplace=True)


def resnet(depth: int) -> nn.Sequential:
    """A CIFAR ResNet of depth 6n + 2 with 1x1 convolutions where the shape changes."""
    blocks, inputs = [], 16
    for outputs in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            blocks.append(Block(inputs, outputs, 1 if inputs == outputs else 2))
            inputs = outputs
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def main() -> None:
    """Times training steps, then forward passes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    torch.manual_seed(0)
    model = resnet(asked.depth).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)
    images = torch.randn(asked.batch_size, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (asked.batch_size,), device=device)

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=asked.precision == "bfloat16"):
            logits = model(images)
        return F.cross_entropy(logits.float(), labels)

    def train() -> None:
        optimizer.zero_grad()
        forward().backward()
        optimizer.step()

    def rate(step: Callable[[], object]) -> float:
        times: list[float] = []
        for number in range(asked.steps + WARM_UP):
            started = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number >= WARM_UP:
                times.append(time.perf_counter() - started)
        return float(asked.batch_size / statistics.median(times))

    training = rate(train)
    model.eval()
    with torch.no_grad():
        scoring = rate(forward)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"train": training, "validate": scoring, "peak_bytes": peak}))


WARM_UP = 3
"""Steps that are not timed: the first ones choose kernels and allocate."""

if __name__ == "__main__":
    main()
