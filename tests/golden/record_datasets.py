"""Makes tests/golden/saved_by_datasets with Hugging Face's datasets (5.2.0), which the tests do not need.

python tests/golden/record_datasets.py
"""

from pathlib import Path

import datasets
import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent / "saved_by_datasets"


def main() -> None:
    """Saves a `DatasetDict` of 8x8 images, in classes whose order is not that of their names."""
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat", "owl"])})
    splits = {}
    for split, labels in {"train": [0, 1, 1, 0, 1], "test": [1, 0], "unsupervised": [0]}.items():
        images = [Image.fromarray(np.full((8, 8, 3), 10 * n + 100 * label, np.uint8)) for n, label in enumerate(labels)]
        splits[split] = datasets.Dataset.from_dict({"img": images, "label": labels}, features=features)
    datasets.DatasetDict(splits).save_to_disk(FOLDER)


if __name__ == "__main__":
    main()
