"""The MCP server of the tests as a process: over its standard streams, or at the port that is given."""

import os
import sys
from pathlib import Path

from tests.support.mcp_server import Calls, docs_server

if __name__ == "__main__":
    if (told := os.environ.get("TOLD")) is not None:
        Path(told).write_text(os.environ["TOKEN"])
    if len(sys.argv) > 1:
        docs_server(Calls()).run("streamable-http", port=int(sys.argv[1]))
    else:
        docs_server(Calls()).run("stdio")
