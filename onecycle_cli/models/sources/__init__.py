"""The sources of networks: a file for each, named as `model.source`, with the functions that `building.py` calls."""
