"""Token counting: an approximation of about four UTF-8 bytes a token, the same for every model.

In: counting texts and cutting a text to a number of tokens. Out: real tokenizers, prices, usage.
"""

BYTES_PER_TOKEN = 4
MESSAGE_OVERHEAD = 4


def count_tokens(text: str) -> int:
    """How many tokens `text` is taken for: its UTF-8 bytes divided by four, rounded up."""
    size = len(text) if text.isascii() else len(text.encode())
    return -(-size // BYTES_PER_TOKEN)


def cut_to_tokens(text: str, limit: int) -> str:
    """The longest beginning of `text` that counts at most `limit` tokens, whole characters only."""
    return text.encode()[: limit * BYTES_PER_TOKEN].decode(errors="ignore")
