"""The secret of a webhook and the signature of a message, in the form of Standard Webhooks. Pure.

No secret is stored: each follows from the webhook's id and the gateway's pepper.
"""

import base64
import hmac
from datetime import datetime
from hashlib import sha256

from services.gateway.webhooks.event import Event


def secret_of(pepper: str, webhook_id: str) -> bytes:
    return hmac.digest(pepper.encode(), b"webhook:" + webhook_id.encode(), sha256)


def shown(secret: bytes) -> str:
    """As the client gets it, and as libraries for Standard Webhooks take it."""
    return "whsec_" + base64.b64encode(secret).decode()


def signed(event: Event, secret: bytes, at: datetime) -> dict[str, str]:
    """The headers that prove where the event's body comes from, and that it is not an old one sent again."""
    timestamp = str(int(at.timestamp()))
    content = b".".join((event.id.encode(), timestamp.encode(), event.body))
    signature = base64.b64encode(hmac.digest(secret, content, sha256)).decode()
    return {
        "Webhook-Id": event.id,
        "Webhook-Timestamp": timestamp,
        "Webhook-Signature": f"v1,{signature}",
    }
