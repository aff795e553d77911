"""Starts a driver in its client's environment, with nothing of this project on the path but this folder."""

import runpy
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))  # last: nothing of theirs is hidden by a name of ours
runpy.run_module(sys.argv[1], run_name="__main__")
