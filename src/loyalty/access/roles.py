"""Roles and what each may do: the one reviewed table. Whoever adds a permission decides here who has it.

A role says *what*; *whose* is said elsewhere: every credential sees its own program only, a till's key its own
locations, a member itself alone.
"""

from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    POS = "pos"  # a till or web shop
    MEMBER = "member"  # the member's own app
    SUPPORT = "support"
    MANAGER = "manager"
    ANALYST = "analyst"
    AUDITOR = "auditor"
    ADMIN = "admin"


BOUND = frozenset({Role.POS})  # roles whose keys may be bound to locations


class Permission(StrEnum):
    MEMBER_LOOKUP = "member.lookup"  # one field, masked answers
    MEMBER_READ = "member.read"  # one member: masked name, balances, lots
    MEMBER_PROFILE = "member.profile"  # personal data in clear, search by name
    MEMBER_ENROL = "member.enrol"
    MEMBER_WRITE = "member.write"  # profile, status, further identifiers
    MEMBER_ERASE = "member.erase"
    PIN_SET = "pin.set"  # another PIN for a member, without knowing the old one
    QUOTE = "quote"
    PURCHASE_READ = "purchase.read"
    PURCHASE_WRITE = "purchase.write"
    PURCHASE_CANCEL = "purchase.cancel"
    PURCHASE_RETURN = "purchase.return"  # lines of a purchase go back
    PURCHASE_CLAIM = "purchase.claim"
    HOLD_READ = "hold.read"
    HOLD_WRITE = "hold.write"  # place, extend, capture, release
    LEDGER_READ = "ledger.read"  # statements, entries, decisions and their explanations
    ADJUST = "adjust"  # give and take by hand, and propose what needs another person
    ADJUST_DECIDE = "adjust.decide"  # approve and reject what others proposed
    TRANSFER = "transfer"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    TIER_GIVE = "tier.give"  # a tier by hand
    REDATE = "redate"  # other ends for the points there are: plan, and as a person confirm
    IMPORT = "import"
    REWARD_READ = "reward.read"  # the catalogue, also as one member may have it
    REDEMPTION_READ = "redemption.read"
    REDEEM = "redeem"  # spend a member's points
    REDEMPTION_CHANGE = "redemption.change"  # hand over, cancel
    STOCK_WRITE = "stock.write"
    CONFIG_READ = "config.read"
    CONFIG_PUBLISH = "config.publish"
    CLOCK_ADVANCE = "clock.advance"
    FEED_READ = "feed.read"
    AUDIT_READ = "audit.read"
    VERIFY_RUN = "verify.run"
    FORECAST = "forecast"  # what is to come, and who would move on other ladders
    RUN_READ = "run.read"  # long work of the kinds that one may ask for
    CLIENTS_MANAGE = "clients.manage"
    STAFF_MANAGE = "staff.manage"
    SELF_READ = "self.read"  # a member's own data, by a member's own credential


_P = Permission

# Support gives goodwill below the program's threshold and proposes what is above it; a manager decides. Stopping a
# theft cannot wait for a manager, lifting the stop can: that is what a thief would ask support for. A till moves no
# points between people: whoever steals its key could empty every account. Nor does it set a PIN: that is what the PIN
# is against; support does when it has made sure who calls.
_READ_BOOKS = {
    _P.MEMBER_LOOKUP,
    _P.MEMBER_READ,
    _P.PURCHASE_READ,
    _P.HOLD_READ,
    _P.LEDGER_READ,
    _P.REWARD_READ,
    _P.REDEMPTION_READ,
    _P.CONFIG_READ,
}
_REPORTS = {_P.FEED_READ, _P.FORECAST, _P.RUN_READ}
_SERVE = {
    _P.MEMBER_PROFILE,
    _P.MEMBER_ENROL,
    _P.MEMBER_WRITE,
    _P.QUOTE,
    _P.PURCHASE_CANCEL,
    _P.PURCHASE_RETURN,
    _P.PURCHASE_CLAIM,
    _P.HOLD_WRITE,  # a sale by phone, and a hold that a till forgot
    _P.ADJUST,
    _P.TRANSFER,
    _P.FREEZE,
    _P.REDEEM,
    _P.REDEMPTION_CHANGE,
}

PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.POS: frozenset(
        {
            _P.MEMBER_LOOKUP,
            _P.MEMBER_READ,
            _P.MEMBER_ENROL,
            _P.QUOTE,
            _P.PURCHASE_READ,
            _P.PURCHASE_WRITE,
            _P.PURCHASE_CANCEL,
            _P.PURCHASE_RETURN,
            _P.PURCHASE_CLAIM,
            _P.HOLD_READ,
            _P.HOLD_WRITE,
            _P.REWARD_READ,
            _P.REDEMPTION_READ,
            _P.REDEEM,
            _P.REDEMPTION_CHANGE,
        }
    ),
    Role.MEMBER: frozenset({_P.SELF_READ}),
    Role.SUPPORT: frozenset(_READ_BOOKS | _SERVE | {_P.MEMBER_ERASE, _P.PIN_SET}),
    Role.MANAGER: frozenset(
        _READ_BOOKS
        | _SERVE
        | _REPORTS
        | {
            _P.ADJUST_DECIDE,
            _P.PIN_SET,
            _P.UNFREEZE,
            _P.TIER_GIVE,
            _P.REDATE,
            _P.IMPORT,
            _P.STOCK_WRITE,
            _P.CONFIG_PUBLISH,
            _P.CLOCK_ADVANCE,
        }
    ),
    Role.ANALYST: frozenset(_READ_BOOKS | _REPORTS),
    Role.AUDITOR: frozenset(_READ_BOOKS | _REPORTS | {_P.AUDIT_READ, _P.VERIFY_RUN}),
    Role.ADMIN: frozenset(set(Permission) - {_P.SELF_READ}),
}


def allows(role: Role, permission: Permission) -> bool:
    """Whether `role` has `permission`."""
    return permission in PERMISSIONS[role]
