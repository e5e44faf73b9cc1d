"""A run's folder: every file name, how each is written, and what state the run is in.

A folder is made new and never written over. What is written whole (JSON, recipe, weights) is written beside and renamed
into place; tables grow by blocks of rows and are flushed after each.
"""
