"""The tables of the system, one file per owner. Only the owner writes a table; the gateway reads all.

Importing this package fills `metadata`; nothing connects.
"""

from shared.tables.base import metadata
from shared.tables.cost import Charge
from shared.tables.gateway import ApiKey, ProjectRow
from shared.tables.recorder import Body, Run, StepRow

__all__ = ["ApiKey", "Body", "Charge", "ProjectRow", "Run", "StepRow", "metadata"]
