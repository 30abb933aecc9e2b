"""What the voices say: sentences as callers of a call centre speak them.

A rule is text with `(one|other|)` for a choice (an empty alternative makes the
words optional), `<name>` for another rule and `<digits 3 8>` for three to eight
digits. The vocabulary of the model is every word that the rules contain.
"""

import random
import re
from functools import partial

MAX_WORDS = 12

RULES = {
    "digit": "(zero|one|two|three|four|five|six|seven|eight|nine)",
    "greeting": "(hello|hi|good morning|good afternoon|good evening|hello good morning)",
    "department": "(support|sales|billing|technical support|customer service|an agent|the billing department"
    "|the sales department|an operator|a manager)",
    "thing": "(my bill|my account|my order|my invoice|my payment|my phone|the internet|my card|my address"
    "|the service|my password)",
    "answer": "(yes|no|yes please|no thank you|okay|yes that is correct|no that is not correct|okay thank you"
    "|yes it is|not today|no thanks|i do not know|wait please|one moment please|sorry|yes i do|no i do not)",
    "farewell": "(goodbye|bye|thank you goodbye|thanks bye|thank you very much|thank you for your help"
    "|have a good day|thank you bye bye|thank you for calling)",
    "keyword": "(support|sales|billing|agent|operator|technical support|yes|no|account|help|cancel"
    "|customer service|internet|phone|payment)",
    "weekday": "(monday|tuesday|wednesday|thursday|friday)",
    "part of day": "(morning|afternoon|evening|)",
}

SENTENCES = [
    "<greeting>",
    "<answer>",
    "<farewell>",
    "<keyword>",
    "<digits 1 10>",
    "(my|the|your) (account|order|phone|invoice|card|customer) number is <digits 3 8>",
    "the (code|password|extension|number) is <digits 2 6>",
    "(press|call|it is|extension|code) <digits 1 6> (please||)",
    "(i would like to|i want to|i need to|can i|could i please) (speak|talk) (to|with) <department> (please||)",
    "(i have a|there is a) (problem|question) (with|about) <thing>",
    "(i would like to|i want to|i need to|can you please|could you) (pay|cancel|check|change|open|close)"
    " <thing> (please||)",
    "<thing> (is not working|does not work|is not correct|is working again)",
    "(please|can you please|could you please) (repeat that|hold|hold on|wait|call me back|call back tomorrow"
    "|transfer me|help me|repeat the number|transfer me to <department>)",
    "(how can i help you|how are you today|what is your name|what is your number|what is the status of <thing>"
    "|are you calling about <thing>|what is the problem|can you hear me|i can not hear you)",
    "<greeting> this is (customer service|the billing department|technical support|the sales department)"
    " how can i help you",
    "i am calling about <thing>",
    "(<weekday>|today|tomorrow) <part of day>",
    "(can you|could you|please) call me (back|) (today|tomorrow|on <weekday>) <part of day>",
    "(yes|no|okay|hello|hi|sorry) <sentence>",
    "<sentence> (please|thank you|and <sentence>)",
]

_PART = re.compile(r"<digits (\d+) (\d+)>|<([a-z ]+)>|([()|])|([a-z]+)")


def words() -> list[str]:
    """Every word of the grammar, sorted: their order is part of the model file."""
    texts = [*RULES.values(), *SENTENCES]
    return sorted({part[4] for text in texts for part in _PART.findall(text) if part[4]})


def utterance(rng: random.Random) -> str:
    """One thing to say: mostly a sentence, else digits, a single word or words at random, at most MAX_WORDS long.

    Random words keep the decoder from writing sentences that nobody said.
    """
    while True:
        kind = rng.random()
        if kind < 0.62:
            text = sentence(rng)
        elif kind < 0.82:
            text = digits(rng, 1, 10)
        else:
            text = " ".join(rng.choices(WORDS, k=1 if kind < 0.9 else rng.randint(2, 7)))
        if len(text.split()) <= MAX_WORDS:
            return text


def sentence(rng: random.Random) -> str:
    """A sentence of the grammar."""
    return " ".join(_draw(rng.choice(_SENTENCES), rng).split())


def digits(rng: random.Random, least: int, most: int) -> str:
    """A number read digit by digit; a third of them with runs of one digit, which are hard to count."""
    length = rng.randint(least, most)
    runs = (1, 1, 2, 2, 3) if rng.random() < 0.33 else (1,)
    drawn: list[str] = []
    while len(drawn) < length:
        drawn += [_draw(_RULES["digit"], rng)] * rng.choice(runs)
    return " ".join(drawn[:length])


def _parse(parts) -> list[list]:
    """The alternatives of a rule, or of a bracket in it, each a list of words, brackets and functions of a Random."""
    alternatives: list[list] = [[]]
    for least, most, name, mark, word in parts:
        if mark == ")":
            break
        if mark == "|":
            alternatives.append([])
        elif mark == "(":
            alternatives[-1].append(_parse(parts))
        elif word:
            alternatives[-1].append(word)
        elif name:
            alternatives[-1].append(sentence if name == "sentence" else partial(_draw_rule, name))
        else:
            alternatives[-1].append(partial(digits, least=int(least), most=int(most)))
    return alternatives


def _draw(node, rng: random.Random) -> str:
    if isinstance(node, str):
        return node
    if callable(node):
        return node(rng)
    return " ".join(_draw(part, rng) for part in rng.choice(node))


def _draw_rule(name: str, rng: random.Random) -> str:
    return _draw(_RULES[name], rng)


_RULES = {name: _parse(iter(_PART.findall(text))) for name, text in RULES.items()}
_SENTENCES = [_parse(iter(_PART.findall(text))) for text in SENTENCES]
WORDS = words()
