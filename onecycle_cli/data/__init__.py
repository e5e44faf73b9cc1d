"""Images: where they come from, how they are split, and how they become batches on a device.

`open_data.py` is the way in. The sources (`cifar10.py`, `image_folder.py`, `digits.py`) give plain numpy arrays;
`batches.py` and `augmentation.py` are the torch side. Nothing here imports torch before it is needed: the processes
that decode images load this package too.
"""
