"""PINs: kept as a slow salted hash, so that whoever steals the table must try each PIN for each member. Pure.

The hash says how it was made: stronger figures than these may come, and older hashes are still read.
"""

import base64
import hashlib
import hmac

_LOG2_N, _R, _P = 14, 8, 1  # 16 MiB and some 50 ms for one


def hashed(pin: str, salt: bytes) -> str:
    """What is kept of a PIN. Needs: a salt of its own, from chance."""
    return "$".join(("scrypt", f"{_LOG2_N},{_R},{_P}", _text(salt), _text(_slow(pin, salt, _LOG2_N, _R, _P))))


def fits(pin: str, kept: str) -> bool:
    """Whether this is the PIN that was kept so; takes as long for any PIN."""
    _, figures, salt, digest = kept.split("$")
    log2_n, r, p = (int(figure) for figure in figures.split(","))
    return hmac.compare_digest(_slow(pin, base64.b64decode(salt), log2_n, r, p), base64.b64decode(digest))


def _slow(pin: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, n=1 << log2_n, r=r, p=p, maxmem=2**26, dklen=32)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
