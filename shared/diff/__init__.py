"""How two runs differ: their steps aligned, what they were given, what they add up to. Pure.

`diff_runs` makes a `RunDiff`, whose JSON is stored and drawn as it is. Not here: why a replay asked for
something else than its source, which `shared.divergence` tells by their requests.
"""

from shared.diff.comparison import diff_runs
from shared.diff.models import RunDiff

__all__ = ["RunDiff", "diff_runs"]
