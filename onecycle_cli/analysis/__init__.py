"""Analysis of curves and tables: numbers in, statements and decisions out. Pure, without torch.

`lr_range/` reads range tests, `diagnosis/` reads training runs, `weight_decay.py` and `ranking.py` read sweeps,
`comparison.py` compares runs. `batch_size.py` and `tuning.py` choose what to try next. `class_balance.py` computes the
loss of guessing.
"""
