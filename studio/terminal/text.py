"""Text that others wrote, made fit for a terminal and for one line.

Whatever a model, a tool or a process wrote passes through here before it is shown: no escape sequence, no
control character and no character that reorders or hides text reaches the terminal.
"""

import json
import re
from typing import Final

# C0 (but line end and tab), DEL and C1; marks that turn the direction of writing; line separators that
# some terminals obey; lone surrogates, which cannot be written; invisible tags, fillers and selectors.
STEERING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb"
    "\u00ad\u034f\u115f\u180e\u200b\u2060\u3164\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def plain(text: str) -> str:
    """The text with every steering character replaced, so that nobody misses it."""
    return STEERING.sub(REPLACEMENT, text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 120) -> str:
    """At most `limit` characters on one line; a mark says that there is more."""
    # Nothing but the beginning is looked at: the text may be very long.
    line = " ".join(plain(text[: limit * 4]).split())
    is_whole = len(line) <= limit and len(text) <= limit * 4
    return line if is_whole else line[: limit - 1].rstrip() + "…"


def json_line(text: str) -> str:
    """JSON text in which steering characters are escaped; they can only stand in its strings."""
    return STEERING.sub(lambda found: json.dumps(found.group())[1:-1], text)
