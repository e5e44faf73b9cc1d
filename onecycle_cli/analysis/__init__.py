"""What curves and tables say: numbers in, statements and decisions out. Pure, without torch.

`lr_range/` reads range tests, `diagnosis/` trainings, `weight_decay.py` and `ranking.py` sweeps, `comparison.py` many
runs; `batch_size.py` and `tuning.py` decide what to try next, `class_balance.py` knows what guessing costs.
"""
