"""The end of `sys.path` of a script: what a Python that it starts, with that path, finds here is the script itself."""
