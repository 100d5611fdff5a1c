"""What names a member from outside, brought to one form per kind, so that one person is found however it is typed.

Pure and total: any text gives an Identifier or IdentifierInvalid, whose words never repeat the text. The forms
are told in docs/api.md, identifiers. Normalising twice changes nothing.
"""

import re
import unicodedata
from uuid import UUID

import email_validator
import phonenumbers

from loyalty.base.errors import Fault
from loyalty.base.text import TextFault, bounded, visible
from loyalty.members.types import Identifier, IdentifierInvalid, IdentifierKind, MemberNotFound

RAW_MAX = 512  # characters looked at before any work is done on them
EXTERNAL_MAX = 128
CARD_MIN, CARD_MAX = 4, 32
EMAIL_MAX = 254

_NO_ADDRESS = (
    "An address names a member by id or as identifier:KIND:VALUE, a card, phone, email or external and what"
    " such a one may be."
)

_PHONE = re.compile(r"\+?[\d ()./-]{2,40}")
_CARD = re.compile(r"[A-Z0-9]+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Texts of QR codes and links that say their kind themselves.
_NAMED = {
    "tel": IdentifierKind.PHONE,
    "mailto": IdentifierKind.EMAIL,
    **{kind.value: kind for kind in IdentifierKind},
}


def normalise(kind: IdentifierKind, raw: str, region: str, pointer: str = "") -> Identifier:
    """The one form of an identifier; `region` is the country (ISO 3166) of phone numbers without prefix.

    Raises: IdentifierInvalid with one fault at `pointer` (a JSON pointer to the text).
    """
    try:
        if len(raw) > RAW_MAX:
            raise TextFault("too_long", f"At most {RAW_MAX} characters are looked at.")
        match kind:
            case IdentifierKind.CARD:
                value = _card(raw)
            case IdentifierKind.PHONE:
                value = _phone(raw, region)
            case IdentifierKind.EMAIL:
                value = _email(raw)
            case IdentifierKind.EXTERNAL:
                value = _external(raw)
    except TextFault as fault:
        raise IdentifierInvalid(faults=(Fault(pointer, fault.code, fault.detail),), kind=kind.value) from None
    return Identifier(kind, value)


def detect(raw: str, region: str) -> tuple[Identifier, ...]:
    """Everything that the text of a look-up field may mean: phone, e-mail, card, external id, or a QR code's text.

    Shape: at most one per kind, the likeliest first; empty when it can be none of them. A text that names its
    kind (`card:6035550001`, `identifier:card:6035550001`, `tel:…`, `mailto:…`) means only that.
    """
    if (named := _named(raw.strip(), region)) is not None:
        return (named,)
    kinds = (
        (IdentifierKind.EMAIL, IdentifierKind.EXTERNAL)
        if "@" in raw
        else (IdentifierKind.PHONE, IdentifierKind.CARD, IdentifierKind.EXTERNAL)
    )
    return tuple(found for kind in kinds if (found := _maybe(kind, raw, region)) is not None)


def parse_member_path(text: str, region: str) -> UUID | Identifier:
    """The member that a path names: an id in its canonical form, or `identifier:KIND:VALUE`.

    Raises: MemberNotFound for anything else, as for a member that does not exist.
    """
    if _UUID.fullmatch(text):
        return UUID(text)
    if text.startswith("identifier:") and (named := _named(text, region)) is not None:
        return named
    raise MemberNotFound(_NO_ADDRESS)


def _named(text: str, region: str) -> Identifier | None:
    word, colon, value = text.removeprefix("identifier:").partition(":")
    kind = _NAMED.get(word)
    return _maybe(kind, value, region) if kind is not None and colon else None


def _maybe(kind: IdentifierKind, raw: str, region: str) -> Identifier | None:
    try:
        return normalise(kind, raw, region)
    except IdentifierInvalid:
        return None


def _card(raw: str) -> str:
    """Digits and Latin letters, capitals, without the blanks and dashes that are printed for the eye."""
    text = raw
    if not (raw.isascii() and raw.isalnum()):  # the usual card is as it should be
        text = "".join(
            character
            for character in _digits(unicodedata.normalize("NFKC", raw.strip()))
            if unicodedata.category(character) not in ("Zs", "Pd")
        )
        if text and not (text.isascii() and text.isalnum()):
            raise TextFault("invalid_characters", "A card number has digits and Latin letters only.")
    bounded(text, CARD_MIN, CARD_MAX)
    return text.upper()


def _phone(raw: str, region: str) -> str:
    """E.164. Valid numbers only: a slip of the finger must not become somebody's account."""
    text = "".join(
        "-" if unicodedata.category(character) == "Pd" else character
        for character in _digits(unicodedata.normalize("NFKC", raw.strip()))
    )
    bounded(text, 1, EXTERNAL_MAX)
    if not (text.isascii() and _PHONE.fullmatch(text)):
        raise TextFault("invalid_characters", "A phone number has digits, blanks and + ( ) . / - only.")
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise TextFault("not_a_phone_number", f"There is no such phone number in {region}.") from None
    if not phonenumbers.is_valid_number(number):
        raise TextFault("not_a_phone_number", f"There is no such phone number in {region}.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _email(raw: str) -> str:
    """Letter case folded before the @, domain as IDNA has it; nothing is asked of the network."""
    text = unicodedata.normalize("NFKC", raw.strip())
    bounded(text, 3, EMAIL_MAX)
    visible(text)
    local, at, domain = text.rpartition("@")
    try:
        found = email_validator.validate_email(f"{_folded(local)}{at}{domain}", check_deliverability=False)
    except (email_validator.EmailNotValidError, UnicodeError):
        raise TextFault("not_an_email", "This is not an e-mail address that mail can be sent to.") from None
    bounded(found.normalized, 3, EMAIL_MAX)
    return found.normalized


def _external(raw: str) -> str:
    """The id of another system as that system writes it, letter case and inner blanks included."""
    text = unicodedata.normalize("NFC", raw.strip())
    bounded(text, 1, EXTERNAL_MAX)
    visible(text)
    if any(unicodedata.category(character) == "Zs" and character != " " for character in text):
        raise TextFault("invalid_characters", "Of all blanks only the ordinary space is allowed.")
    return text


def _folded(text: str) -> str:
    """Letter case gone, compatible forms unified; folding may undo composing, hence twice."""
    for _ in range(2):
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).casefold())
    return text


def _digits(text: str) -> str:
    """Decimal digits of any script as 0 to 9."""
    if text.isascii():
        return text
    return "".join(
        character if (digit := unicodedata.decimal(character, None)) is None else str(digit)
        for character in text
    )
