"""What schemathesis does not know by itself: how lines of JSON go over the wire."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines_of_json(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
