"""The embedded default stack: real servers from Python packages, so that one command is enough on a fresh machine.

Nothing in this package but `first_run.py` imports Django: the stack must be up before settings can be read.
"""
