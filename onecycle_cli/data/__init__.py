"""Image data: the sources, the splits, and the batches on a device.

Start at `open_data.py`, which lists the sources. They return numpy arrays, most of them through `labelled_images.py`
and `decoded_cache.py`; `batches.py` and `augmentation.py` work on torch tensors. The other modules import torch only
when they need it, because the worker processes that decode images import this package too.
"""
