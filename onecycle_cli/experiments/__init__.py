"""The experiments: a recipe and a run's folder in, a result out. They compose what the other modules offer.

`range_test.py` is find-lr, `weight_decay.py` is sweep-wd; `planning.py` needs no torch.
"""
