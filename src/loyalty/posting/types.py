"""Refusals of the commands, and what the road itself may answer."""

from typing import ClassVar

from loyalty.base.errors import Busy, Conflict, Forbidden, Internal, NotFound, PreconditionFailed, Refused


class IdempotencyKeyReused(Refused):
    code: ClassVar[str] = "idempotency_key_reused"
    title: ClassVar[str] = "The Idempotency-Key was used for another request."


class ActivityDiffers(Conflict):
    code: ClassVar[str] = "activity_differs"
    title: ClassVar[str] = "This source already sent other content under this external id."


class PurchaseCancelled(Conflict):
    code: ClassVar[str] = "purchase_cancelled"
    title: ClassVar[str] = "The purchase was cancelled."


class PurchaseNotFound(NotFound):
    code: ClassVar[str] = "purchase_not_found"
    title: ClassVar[str] = "There is no such purchase."


class ReturnNotFound(NotFound):
    code: ClassVar[str] = "return_not_found"
    title: ClassVar[str] = "There is no such return."


class ReturnInvalid(Refused):
    code: ClassVar[str] = "return_invalid"
    title: ClassVar[str] = "The return names lines that cannot go back."


class CurrencyMismatch(Refused):
    code: ClassVar[str] = "currency_mismatch"
    title: ClassVar[str] = "The purchase was made in another currency."


class ExceedsPurchase(Conflict):
    code: ClassVar[str] = "exceeds_purchase"
    title: ClassVar[str] = "More would go back than was bought and not yet returned."


class AlreadyReturned(Conflict):
    code: ClassVar[str] = "already_returned"
    title: ClassVar[str] = "Nothing of the purchase is left."


class LinesRemoved(Conflict):
    code: ClassVar[str] = "lines_removed"
    title: ClassVar[str] = "The purchase's lines are no longer kept: only all that is left of it can go back."


class AlreadyClaimed(Conflict):
    code: ClassVar[str] = "already_claimed"
    title: ClassVar[str] = "The purchase belongs to a member already."


class ClaimTooLate(Conflict):
    code: ClassVar[str] = "claim_too_late"
    title: ClassVar[str] = "The time to claim this purchase has passed."


class TooOld(Refused):
    code: ClassVar[str] = "too_old"
    title: ClassVar[str] = "It happened longer ago than the program accepts."


class InFuture(Refused):
    code: ClassVar[str] = "in_future"
    title: ClassVar[str] = "It lies further in the future than the program accepts."


class MoneyNotSupported(Refused):
    code: ClassVar[str] = "currency_not_supported"
    title: ClassVar[str] = "The program does not count in this currency."


class PointsCurrencyUnknown(Refused):
    code: ClassVar[str] = "points_currency_unknown"
    title: ClassVar[str] = "The program has no such points currency."


class PointsNotSpendable(Refused):
    code: ClassVar[str] = "points_not_spendable"
    title: ClassVar[str] = "Points of this points currency are counted, never spent."


class HoldTooLong(Refused):
    code: ClassVar[str] = "hold_too_long"
    title: ClassVar[str] = "The hold would last longer than the program allows."


class HoldOfAnotherMember(Conflict):
    code: ClassVar[str] = "hold_of_another_member"
    title: ClassVar[str] = "The hold does not belong to the member who buys or redeems."


class HoldForReward(Conflict):
    code: ClassVar[str] = "hold_for_reward"
    title: ClassVar[str] = "The hold is for a reward: it is redeemed for that, or released."


class ReasonUnknown(Refused):
    code: ClassVar[str] = "reason_unknown"
    title: ClassVar[str] = "The program does not know this reason."


class AdjustmentLimit(Conflict):
    code: ClassVar[str] = "adjustment_limit"
    title: ClassVar[str] = "More than this credential may give or take by hand on one day."


class ProposalNotFound(NotFound):
    code: ClassVar[str] = "proposal_not_found"
    title: ClassVar[str] = "There is no such proposal."


class PeopleOnly(Forbidden):
    code: ClassVar[str] = "people_only"
    title: ClassVar[str] = "A person with a staff token decides this, never an API key."


class OwnProposal(Forbidden):
    code: ClassVar[str] = "own_proposal"
    title: ClassVar[str] = "Whoever proposed it does not decide it."


class ProposalDecided(Conflict):
    code: ClassVar[str] = "proposal_decided"
    title: ClassVar[str] = "The proposal has been decided already."


class ProposalLapsed(Conflict):
    code: ClassVar[str] = "proposal_lapsed"
    title: ClassVar[str] = "The time to decide this proposal has passed."


class NothingOwed(Conflict):
    code: ClassVar[str] = "nothing_owed"
    title: ClassVar[str] = "The account owes nothing."


class AccountFrozen(Conflict):
    code: ClassVar[str] = "account_frozen"
    title: ClassVar[str] = "Nothing is taken from the account while it is frozen."


class TransfersOff(Conflict):
    code: ClassVar[str] = "transfers_off"
    title: ClassVar[str] = "The program does not let members give points to each other."


class TransferToSelf(Refused):
    code: ClassVar[str] = "transfer_to_self"
    title: ClassVar[str] = "Giver and taker are the same member."


class TransferOutOfRange(Refused):
    code: ClassVar[str] = "transfer_out_of_range"
    title: ClassVar[str] = "The program lets fewer, or more, points be given at once."


class TransferLimit(Conflict):
    code: ClassVar[str] = "transfer_limit"
    title: ClassVar[str] = "More than one member may give within this time."


class SpendingLimit(Conflict):
    """The attempt is recorded though it is refused (docs/ledger.md, "Refused and recorded")."""

    code: ClassVar[str] = "spending_limit"
    title: ClassVar[str] = "More than may be spent within this time."


class PinRequired(Forbidden):
    code: ClassVar[str] = "pin_required"
    title: ClassVar[str] = "So many points need the member's PIN."


class PinWrong(Forbidden):
    """The attempt is counted and recorded though it is refused (docs/pin.md)."""

    code: ClassVar[str] = "pin_wrong"
    title: ClassVar[str] = "This is not the member's PIN."


class PinLocked(Forbidden):
    code: ClassVar[str] = "pin_locked"
    title: ClassVar[str] = "The PIN is locked after too many wrong ones."


class PinChanged(Conflict):
    code: ClassVar[str] = "pin_changed"
    title: ClassVar[str] = "The member's PIN was changed while it was checked."


class DatesContradict(Refused):
    code: ClassVar[str] = "contradictory_range"
    title: ClassVar[str] = "The dates contradict each other."


class ConfigurationStale(PreconditionFailed):
    code: ClassVar[str] = "configuration_stale"
    title: ClassVar[str] = "Another configuration has been published since the one this was made from."


class ConfigurationFixed(Conflict):
    code: ClassVar[str] = "configuration_fixed"
    title: ClassVar[str] = "Money and zone cannot be changed, nor can a points currency be withdrawn."


class EffectiveInPast(Refused):
    code: ClassVar[str] = "effective_in_past"
    title: ClassVar[str] = "A configuration comes in force when it is published, or later."


class DayNotOver(Conflict):
    code: ClassVar[str] = "day_not_over"
    title: ClassVar[str] = "The program day has not ended yet."


class NothingDue(Conflict):
    code: ClassVar[str] = "nothing_due"
    title: ClassVar[str] = "Nothing has fallen due on the member's accounts."


class DayClosed(Conflict):
    code: ClassVar[str] = "day_closed"
    title: ClassVar[str] = "The program day, or a later one, is closed already."


class ShuttingDown(Busy):
    code: ClassVar[str] = "shutting_down"
    title: ClassVar[str] = "The server is shutting down; try again."


class Incident(Internal):
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side; the incident is recorded under the request id."
