"""The folder of a run: its file names, how each file is written, and the status of the run.

An existing folder is never overwritten. JSON, recipes and weights are written to a temporary file and renamed into
place; tables grow by blocks of rows and are flushed after each block.
"""
