"""A recorded run played again: the runner's own code with recorded answers, without bus and network.

What the code does now is held against what the log says that it did: every request by its hash, every step
that the code decides byte by byte. `script` is the recorded log and how far the rehearsal has come, `journal`
where the code writes to, `rehearsal` the play. `python -m services.runner.rehearsal` plays a run from a file.
"""
