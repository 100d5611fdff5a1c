"""What a cashier may see of a person: enough to tell that it is the right one, too little to write it down.

Pure. A mask has the same length whatever it hides.
"""

import unicodedata

from loyalty.members.types import Identifier, IdentifierKind

HIDDEN = "•••"
_WORDS_MAX = 3


def mask_name(name: str) -> str:
    """The first letter of each of the first three words: `A••• M•••`."""
    return " ".join(f"{_first(word)}{HIDDEN}" for word in name.split()[:_WORDS_MAX])


def mask_identifier(identifier: Identifier) -> str:
    """The end of a card, phone number or external id; first letters of an e-mail address and of its domain."""
    value = identifier.value
    match identifier.kind:
        case IdentifierKind.EMAIL:
            local, _, domain = value.rpartition("@")
            host, _, ending = domain.rpartition(".")
            return f"{_first(local)}{HIDDEN}@{_first(host)}{HIDDEN}.{ending}"
        case IdentifierKind.PHONE:
            return HIDDEN + value[-3:]
        case IdentifierKind.CARD | IdentifierKind.EXTERNAL:
            return HIDDEN + value[len(value) - min(4, len(value) // 3) :]


def _first(word: str) -> str:
    """The first letter with the marks that belong to it."""
    end = 1
    while end < len(word) and unicodedata.combining(word[end]):
        end += 1
    return word[:end]
