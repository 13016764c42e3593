"""Which content types are text, and how their bytes become a string."""

import codecs
import re

TEXT_TYPES = frozenset(
    {
        "application/ecmascript",
        "application/javascript",
        "application/json",
        "application/toml",
        "application/x-javascript",
        "application/x-ndjson",
        "application/x-sh",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
    }
)
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
# Python knows codecs that are no character sets or take quadratic time (punycode, idna): only these are used.
CHARSETS = re.compile(
    r"utf-8|utf-8-sig|utf-16(-le|-be)?|ascii|iso8859-\d+|cp125\d|cp866|cp93[26]|cp949|cp950|koi8-[ru]"
    r"|shift_jis|euc_jp|iso2022_jp|euc_kr|gb2312|gbk|gb18030|big5|mac-roman"
)


def media_type(content_type: str) -> str:
    return content_type.split(";", 1)[0].strip().lower()


def is_text(media: str) -> bool:
    return media.startswith("text/") or media.endswith(("+json", "+xml")) or media in TEXT_TYPES


def decode(data: bytes, content_type: str) -> str:
    """By the declared character set, or UTF-8; bytes that do not fit become the replacement character."""
    declared = CHARSET.search(content_type)
    return data.decode(_codec(declared[1]) if declared else "utf-8", "replace")


def _codec(charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
    except LookupError:
        return "utf-8"
    return name if CHARSETS.fullmatch(name) else "utf-8"
