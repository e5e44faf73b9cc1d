"""Image data: the sources, the splits, and the batches on a device.

Start at `open_data.py`. The sources (`cifar10.py`, `image_folder.py`, `digits.py`) return numpy arrays; `batches.py`
and `augmentation.py` work on torch tensors. The other modules import torch only when they need it, because the worker
processes that decode images import this package too.
"""
