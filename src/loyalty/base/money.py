"""Money and points in words for people; minor units have the decimals of their ISO 4217 currency. Pure."""

_WITHOUT_DECIMALS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())
_WITH_THREE = frozenset("BHD IQD JOD KWD LYD OMR TND".split())


def decimals(code: str) -> int:
    """How many decimals amounts in this currency have."""
    if code in _WITHOUT_DECIMALS:
        return 0
    return 3 if code in _WITH_THREE else 2


def amount(minor: int, code: str) -> str:
    """An amount as people read it: 123456 in EUR is "1,234.56 EUR"."""
    places = decimals(code)
    whole, rest = divmod(abs(minor), 10**places)
    sign = "-" if minor < 0 else ""
    return f"{sign}{whole:,}.{rest:0{places}} {code}" if places else f"{sign}{whole:,} {code}"


def counted(number: int, name: str, name_one: str | None = None) -> str:
    """A number of points, or of anything, as people read it: 1,234 points, 2 Sterne, and by `name_one` 1 Stern.

    Without a name of its own one of them is called as many are, but one of "points" is a point.
    """
    if number == 1:
        name = name_one or ("point" if name == "points" else name)
    return f"{number:,} {name}"
