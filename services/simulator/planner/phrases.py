"""Sentences the model fills its answers with. Data only."""

OPENINGS = (
    "Here is a short answer about {topic}.",
    "Let me say something about {topic}.",
    "A few words on {topic}:",
    "That is a good question about {topic}.",
    "There are several sides to {topic}.",
    "It depends on what you need from {topic}.",
)
ADVICE = (
    "It helps to begin with a small example and to look at one part of {topic} at a time.",
    "What matters most with {topic} is a clear goal and a way to check the result.",
    "Most people start from what they already know of {topic} and go on from there.",
    "In practice {topic} is best understood by trying it and writing down what happens.",
    "The usual way is to split {topic} into steps and to keep each of them simple.",
)
CLOSINGS = (
    "Tell me more about {topic} if you want details.",
    "I can go deeper into {topic} if you like.",
    "Ask me about any part of {topic}.",
    "That should be enough to get on with {topic}.",
)
FILLERS = (
    "One thing that stands out about {topic} is how much depends on the details.",
    "Those who work with {topic} every day tend to value simple rules.",
    "There is no single answer, but {topic} rewards patience.",
    "Looking back, {topic} has changed more slowly than expected.",
    "A careful reader will notice that {topic} is rarely alone.",
    "The first step with {topic} is usually the hardest one.",
    "Small improvements in {topic} add up over time.",
    "Without a clear measure, {topic} remains a matter of taste.",
)
_STOPWORDS = (
    "the and for are was were what when where which who whom whose why how can could would should will shall "
    "may might must this that these those with from into about your you yours our they them their there here "
    "have has had does did doing done been being not but all any some please tell give write explain "
    "describe make just like than then also very more most much many say said one two words word sentences "
    "sentence paragraphs paragraph text simulate"
)
STOPWORDS = frozenset(_STOPWORDS.split())
