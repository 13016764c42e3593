"""Answers in words to whatever is no task: plausible, short, and a function of what was said.

In: memory of the conversation, instructions, identity, greetings, summaries, texts of a wanted
length. Out: anything a tool could find out. Nothing here claims facts.
"""

import re
from collections import Counter
from collections.abc import Callable

from services.simulator.conversation import Conversation
from services.simulator.faults.fault import without_directives
from services.simulator.planner.phrases import ADVICE, CLOSINGS, FILLERS, OPENINGS, STOPWORDS
from services.simulator.sampling import Sampler

MAX_WORDS = 20_000
MAX_QUOTE = 300
_PREVIOUS = re.compile(
    r"\bwhat (?:did|have) i (?:just )?(?:sa(?:y|id)|ask(?:ed)?|tell|told|write|written)|"
    r"\b(?:my|the) (?:previous|last|earlier) (?:question|message|prompt|request)|\brepeat (?:what i|my)\b",
    re.I,
)
_FIRST = re.compile(r"\bmy first (?:question|message|prompt|request)", re.I)
_OWN = re.compile(
    r"\bwhat (?:did|have) you (?:just )?(?:sa(?:y|id)|answer(?:ed)?)|\byour (?:last|previous) answer", re.I
)
_NAME = re.compile(r"\bwhat(?:'s| is) my name\b|\bwho am i\b", re.I)
_TOLD_NAME = re.compile(r"\b[Mm]y name is ([\w'-]+(?: [A-Z][\w'-]+)?)|\b[Cc]all me ([\w'-]+)")
_INSTRUCTIONS = re.compile(
    r"\byour (?:system )?(?:instructions?|prompt|rules|role|task)\b|\bsystem prompt\b", re.I
)
_IDENTITY = re.compile(r"\bwho are you\b|\b(?:what|which) (?:ai |language )?model\b.*\byou\b", re.I)
_GREETING = re.compile(r"^\W*(?:hi|hello|hey|good (?:morning|evening|afternoon)|bonjour)\b[^?]{0,40}$", re.I)
_THANKS = re.compile(r"^\W*(?:thanks?|thank you|merci)\b", re.I)
_SUMMARY = re.compile(r"\b(?:summari[sz]e|summary|sum up|tl;?dr)\b", re.I)
_LENGTH = re.compile(r"\b(\d{1,5})[- ](words?|sentences?|paragraphs?)\b", re.I)
_WORD = re.compile(r"[^\W\d_][\w'-]{2,}")


def answer(conversation: Conversation, question: str, model: str, sampler: Sampler) -> str:
    """The model's words for a question without a task in it."""
    kinds: tuple[tuple[re.Pattern[str], Callable[[], str]], ...] = (
        (_FIRST, lambda: _recall(conversation, 0)),
        (_PREVIOUS, lambda: _recall(conversation, -1)),
        (_OWN, lambda: _own_words(conversation)),
        (_NAME, lambda: _name(conversation)),
        (_INSTRUCTIONS, lambda: _instructions(conversation)),
        (_IDENTITY, lambda: f"I am {model}, played by a simulator: I plan by rules and know no facts."),
        (_GREETING, lambda: sampler.wording(("Hello! How can I help you?", "Hi! What can I do for you?"))),
        (_THANKS, lambda: sampler.wording(("You are welcome.", "Glad to help."))),
        (_SUMMARY, lambda: _summary(question)),
        (_LENGTH, lambda: _of_length(question, sampler)),
    )
    say = next((say for pattern, say in kinds if pattern.search(question)), None)
    return say() if say is not None else _remark(question, sampler)


def _recall(conversation: Conversation, which: int) -> str:
    earlier = conversation.texts("user", conversation.last_user)
    if not earlier:
        return "This is the first thing you say in this conversation."
    order = "first" if which == 0 else "before"
    return f'You said {order}: "{_quote(without_directives(earlier[which]))}"'


def _own_words(conversation: Conversation) -> str:
    answers = conversation.texts("assistant", conversation.last_user)
    return f'I said: "{_quote(answers[-1])}"' if answers else "I have not said anything yet."


def _name(conversation: Conversation) -> str:
    told = [m for text in conversation.texts("user") for m in _TOLD_NAME.finditer(text)]
    return f"Your name is {told[-1][1] or told[-1][2]}." if told else "You have not told me your name."


def _instructions(conversation: Conversation) -> str:
    texts = conversation.texts("system")
    return f'My instructions are: "{_quote(" ".join(texts))}"' if texts else "I was given no instructions."


def _summary(question: str) -> str:
    """The first and the last sentence of the text to be summed up."""
    head, colon, tail = question.partition(":")
    text = tail.strip() if colon and len(head) < 120 else question
    sentences = [s.strip() for s in re.split(r"(?<=[.!?])\s+|\n+", text) if s.strip()]
    kept = list(dict.fromkeys((sentences[0], sentences[-1]))) if sentences else [text]
    return f"In short: {' '.join(_quote(sentence) for sentence in kept)}"


def _of_length(question: str, sampler: Sampler) -> str:
    """A text of the wanted number of words, sentences or paragraphs (of four sentences)."""
    match = _LENGTH.search(question)
    count, unit = (int(match[1]), match[2].lower()) if match else (1, "sentence")
    topics = _topics(_LENGTH.sub(" ", question))
    if unit.startswith("word"):
        return _words(min(count, MAX_WORDS), topics, sampler)
    per_paragraph = 4 if unit.startswith("paragraph") else 1
    total = min(count * per_paragraph, MAX_WORDS // 10)
    sentences = [sampler.choose(FILLERS).format(topic=sampler.choose(topics)) for _ in range(total)]
    if per_paragraph == 1:
        return " ".join(sentences)
    return "\n\n".join(" ".join(sentences[i : i + 4]) for i in range(0, total, 4))


def _words(count: int, topics: list[str], sampler: Sampler) -> str:
    words: list[str] = []
    while len(words) < count:
        words += sampler.choose(FILLERS).format(topic=sampler.choose(topics)).split()
    return " ".join(words[:count]).rstrip(".,") + "."


def _remark(question: str, sampler: Sampler) -> str:
    topics = _topics(question)
    about = " and ".join(topics[:2])
    parts = (sampler.choose(OPENINGS), sampler.choose(ADVICE), sampler.choose(CLOSINGS))
    return " ".join(part.format(topic=topics[-1] if i else about) for i, part in enumerate(parts))


def _topics(question: str) -> list[str]:
    """What the question is about: its most frequent telling words, the earlier first."""
    counts = Counter(w.lower() for w in _WORD.findall(question) if w.lower() not in STOPWORDS)
    return [word for word, _ in counts.most_common(3)] or ["this"]


def _quote(text: str) -> str:
    return text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE].rstrip() + " …"
