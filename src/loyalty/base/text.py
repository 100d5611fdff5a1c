"""Text from outside: one Unicode form, no blanks around, no characters that nobody can see.

Pure. What is refused is said by a stable code and a sentence that does not repeat the text.
"""

import unicodedata

# Cc control, Cs lone surrogates, Co private use, Cn unassigned, Zl and Zp line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
# Formatting characters that names need: zero-width joiner and non-joiner (Persian, Indic scripts, emoji).
_JOINERS = frozenset("\u200c\u200d")
_MARKS_IN_A_ROW = 8


class TextFault(Exception):
    """Why a text is refused."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


def clean(raw: str, most: int, *, least: int = 1) -> str:
    """`raw` in composed form (NFC) without blanks around it.

    Units: `least` and `most` count characters (code points) of the result.
    Raises: TextFault too_short, too_long, invalid_characters.
    """
    # Composing can shorten a text but not by much; what is far too long is not worth the work.
    if len(raw) > most * 4 + 16:
        raise TextFault("too_long", f"At most {most} characters are allowed.")
    text = unicodedata.normalize("NFC", raw).strip()
    bounded(text, least, most)
    visible(text, joiners=True)
    return text


def composed(text: str) -> str:
    """`text` in the form under which names are compared: composed (NFC), without blanks around it."""
    return text if text.isascii() and text == text.strip() else unicodedata.normalize("NFC", text).strip()


def bounded(text: str, least: int, most: int) -> None:
    """Raises: TextFault unless the length of `text` is within the bounds."""
    if len(text) < least:
        raise TextFault("too_short", f"At least {least} characters are needed, blanks around not counted.")
    if len(text) > most:
        raise TextFault("too_long", f"At most {most} characters are allowed.")


def visible(text: str, *, joiners: bool = False) -> None:
    """Raises: TextFault when a character cannot be seen or changes how others are shown.

    That is: control characters and line breaks, direction marks, zero-width characters (with `joiners` the two
    that scripts need are allowed), lone surrogates, unassigned code points, heaps of combining marks.
    """
    marks: set[str] = set()
    for character in set(text):
        if " " <= character <= "~":
            continue
        category = unicodedata.category(character)
        if category in _UNSEEN:
            raise TextFault("invalid_characters", "It contains characters that cannot be shown.")
        if category == "Cf" and not (joiners and character in _JOINERS):
            raise TextFault("invalid_characters", "It contains invisible formatting characters.")
        if category in ("Mn", "Me"):
            marks.add(character)
    in_a_row = 0
    for character in text if marks else ():
        in_a_row = in_a_row + 1 if character in marks else 0
        if in_a_row > _MARKS_IN_A_ROW:
            raise TextFault("invalid_characters", "It contains characters that cannot be shown.")
