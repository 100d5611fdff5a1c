"""Refusals of the commands, and what the road itself may answer."""

from typing import ClassVar

from loyalty.base.errors import Busy, Conflict, Forbidden, Internal, NotFound, PreconditionFailed, Refused


class IdempotencyKeyReused(Refused):
    code: ClassVar[str] = "idempotency_key_reused"
    title: ClassVar[str] = "The Idempotency-Key was used for another request."
    remedy: ClassVar[str] = (
        "Take a new key for a new request; send the first body again only to see its answer."
    )


class ActivityDiffers(Conflict):
    code: ClassVar[str] = "activity_differs"
    title: ClassVar[str] = "This source already sent other content under this external id."
    remedy: ClassVar[str] = (
        "Look at the places in `differs`, and give what is another receipt an `external_id` of its own."
    )


class PurchaseCancelled(Conflict):
    code: ClassVar[str] = "purchase_cancelled"
    title: ClassVar[str] = "The purchase was cancelled."
    remedy: ClassVar[str] = "Leave this receipt: a sale that was made after all takes another `external_id`."


class PurchaseNotFound(NotFound):
    code: ClassVar[str] = "purchase_not_found"
    title: ClassVar[str] = "There is no such purchase."
    remedy: ClassVar[str] = (
        "Check id or receipt, and the key's locations; record the purchase before what refers to it."
    )


class ReturnNotFound(NotFound):
    code: ClassVar[str] = "return_not_found"
    title: ClassVar[str] = "There is no such return."
    remedy: ClassVar[str] = (
        "Check `source` and `external_id`, and send the return itself if it never arrived."
    )


class ReturnInvalid(Refused):
    code: ClassVar[str] = "return_invalid"
    title: ClassVar[str] = "The return names lines that cannot go back."
    remedy: ClassVar[str] = (
        "Correct the lines that `errors` names: `GET /v1/purchases/{purchase}` has those that were bought."
    )


class CurrencyMismatch(Refused):
    code: ClassVar[str] = "currency_mismatch"
    title: ClassVar[str] = "The purchase was made in another currency."
    remedy: ClassVar[str] = "Leave `money` out of the return, or send the `purchase_money` of the answer."


class ExceedsPurchase(Conflict):
    code: ClassVar[str] = "exceeds_purchase"
    title: ClassVar[str] = "More would go back than was bought and not yet returned."
    remedy: ClassVar[str] = "Take back at most `bought` less `returned` of the line that `line_id` names."


class AlreadyReturned(Conflict):
    code: ClassVar[str] = "already_returned"
    title: ClassVar[str] = "Nothing of the purchase is left."
    remedy: ClassVar[str] = (
        "Nothing: all of it went back, in the returns that `GET /v1/purchases/{purchase}` lists."
    )


class LinesRemoved(Conflict):
    code: ClassVar[str] = "lines_removed"
    title: ClassVar[str] = "The purchase's lines are no longer kept: only all that is left of it can go back."
    remedy: ClassVar[str] = "Leave `lines` out, so that all that is left of the purchase goes back at once."


class AlreadyClaimed(Conflict):
    code: ClassVar[str] = "already_claimed"
    title: ClassVar[str] = "The purchase belongs to a member already."
    remedy: ClassVar[str] = (
        "Leave it with its member, and put right by hand what is wrong with that (`POST /v1/adjustments`)."
    )


class ClaimTooLate(Conflict):
    code: ClassVar[str] = "claim_too_late"
    title: ClassVar[str] = "The time to claim this purchase has passed."
    remedy: ClassVar[str] = (
        "Give points by hand instead (`POST /v1/adjustments`); the policy `claim_days_max` sets the time."
    )


class TooOld(Refused):
    code: ClassVar[str] = "too_old"
    title: ClassVar[str] = "It happened longer ago than the program accepts."
    remedy: ClassVar[str] = (
        "Give points by hand (`POST /v1/adjustments`), or publish a higher policy `late_days_max` first."
    )


class InFuture(Refused):
    code: ClassVar[str] = "in_future"
    title: ClassVar[str] = "It lies further in the future than the program accepts."
    remedy: ClassVar[str] = (
        "Correct the instant or the till's clock; a sandbox's is set forward (`POST /v1/clock/advance`)."
    )


class MoneyNotSupported(Refused):
    code: ClassVar[str] = "currency_not_supported"
    title: ClassVar[str] = "The program does not count in this currency."
    remedy: ClassVar[str] = "Send the amounts in the program's money, which is `program_money` in the answer."


class PointsCurrencyUnknown(Refused):
    code: ClassVar[str] = "points_currency_unknown"
    title: ClassVar[str] = "The program has no such points currency."
    remedy: ClassVar[str] = (
        "Name one of the `points_currencies` in the program's settings (`GET /v1/program`)."
    )


class PointsNotSpendable(Refused):
    code: ClassVar[str] = "points_not_spendable"
    title: ClassVar[str] = "Points of this points currency are counted, never spent."
    remedy: ClassVar[str] = "Name a points currency whose setting `spendable` is true."


class HoldTooLong(Refused):
    code: ClassVar[str] = "hold_too_long"
    title: ClassVar[str] = "The hold would last longer than the program allows."
    remedy: ClassVar[str] = (
        "Ask for fewer `minutes`: the hold ends at `lapses_at_max` at the latest, by the policy "
        "`hold_days_max`."
    )


class HoldOfAnotherMember(Conflict):
    code: ClassVar[str] = "hold_of_another_member"
    title: ClassVar[str] = "The hold does not belong to the member who buys or redeems."
    remedy: ClassVar[str] = (
        "Name a hold of the member who buys or redeems (`GET /v1/members/{member}/holds`), or none."
    )


class HoldForReward(Conflict):
    code: ClassVar[str] = "hold_for_reward"
    title: ClassVar[str] = "The hold is for a reward: it is redeemed for that, or released."
    remedy: ClassVar[str] = (
        "Redeem it with its own `reward` (`POST /v1/redemptions` with `hold`), or release it."
    )


class ReasonUnknown(Refused):
    code: ClassVar[str] = "reason_unknown"
    title: ClassVar[str] = "The program does not know this reason."
    remedy: ClassVar[str] = (
        "Send a `reason` of the policy `adjustments`, and none that the books use themselves."
    )


class AdjustmentLimit(Conflict):
    code: ClassVar[str] = "adjustment_limit"
    title: ClassVar[str] = "More than this credential may give or take by hand on one day."
    remedy: ClassVar[str] = "Adjust by no more than `maximum` less `used`, or wait until `until`."


class ReinstatementsOff(Conflict):
    code: ClassVar[str] = "reinstatements_off"
    title: ClassVar[str] = "Expired points of this points currency are not given back."
    remedy: ClassVar[str] = (
        "Set `reinstate_days` of the points currency above 0, or give points by hand (`POST /v1/adjustments`)."
    )


class TooFewExpired(Conflict):
    code: ClassVar[str] = "too_few_expired"
    title: ClassVar[str] = "Fewer points than wanted have expired and may still be given back."
    remedy: ClassVar[str] = (
        "Give back no more than `reinstatable`; what ended before that is given by hand (`POST /v1/adjustments`)."
    )


class ProposalNotFound(NotFound):
    code: ClassVar[str] = "proposal_not_found"
    title: ClassVar[str] = "There is no such proposal."
    remedy: ClassVar[str] = "Take an id from `GET /v1/adjustments`, or from the 202 that made the proposal."


class PeopleOnly(Forbidden):
    code: ClassVar[str] = "people_only"
    title: ClassVar[str] = "A person with a staff token decides this, never an API key."
    remedy: ClassVar[str] = (
        "Use the staff token of a person (`loyalty staff token ID`) instead of an API key."
    )


class OwnProposal(Forbidden):
    code: ClassVar[str] = "own_proposal"
    title: ClassVar[str] = "Whoever proposed it does not decide it."
    remedy: ClassVar[str] = "Let another person decide it, whose role is `manager` or `admin`."


class ProposalDecided(Conflict):
    code: ClassVar[str] = "proposal_decided"
    title: ClassVar[str] = "The proposal has been decided already."
    remedy: ClassVar[str] = (
        "Nothing: `state` says how it was decided; what shall be otherwise is proposed anew."
    )


class ProposalLapsed(Conflict):
    code: ClassVar[str] = "proposal_lapsed"
    title: ClassVar[str] = "The time to decide this proposal has passed."
    remedy: ClassVar[str] = (
        "Propose it anew, and have it decided within the days of the policy `proposal_days`."
    )


class NothingOwed(Conflict):
    code: ClassVar[str] = "nothing_owed"
    title: ClassVar[str] = "The account owes nothing."
    remedy: ClassVar[str] = "Nothing: there is no debt to let go, and a proposal that waits may be rejected."


class AccountFrozen(Conflict):
    code: ClassVar[str] = "account_frozen"
    title: ClassVar[str] = "Nothing is taken from the account while it is frozen."
    remedy: ClassVar[str] = (
        "Let a manager lift the freeze: `POST /v1/members/{member}/accounts/{points_currency}/unfreeze`."
    )


class TransfersOff(Conflict):
    code: ClassVar[str] = "transfers_off"
    title: ClassVar[str] = "The program does not let members give points to each other."
    remedy: ClassVar[str] = (
        "Publish the policy `transfers` with `enabled` set to true, if members shall give to each other."
    )


class TransferToSelf(Refused):
    code: ClassVar[str] = "transfer_to_self"
    title: ClassVar[str] = "Giver and taker are the same member."
    remedy: ClassVar[str] = "Name two different members in `from` and `to`."


class TransferOutOfRange(Refused):
    code: ClassVar[str] = "transfer_out_of_range"
    title: ClassVar[str] = "The program lets fewer, or more, points be given at once."
    remedy: ClassVar[str] = (
        "Give at least `minimum` points at once, and no more than `maximum` where there is one."
    )


class TransferLimit(Conflict):
    code: ClassVar[str] = "transfer_limit"
    title: ClassVar[str] = "More than one member may give within this time."
    remedy: ClassVar[str] = "Let the giver give no more than `maximum` less `used`, or wait until `until`."


class SpendingLimit(Conflict):
    """The attempt is recorded though it is refused (docs/ledger.md, "Refused and recorded")."""

    code: ClassVar[str] = "spending_limit"
    title: ClassVar[str] = "More than may be spent within this time."
    remedy: ClassVar[str] = (
        "Spend no more than `maximum` less `used`, or wait until `until`; the attempt is on record."
    )


class PinRequired(Forbidden):
    code: ClassVar[str] = "pin_required"
    title: ClassVar[str] = "So many points need the member's PIN."
    remedy: ClassVar[str] = (
        "Ask for the PIN and send it as `pin` under a new key; with `pin_set` false support sets one first."
    )


class PinWrong(Forbidden):
    """The attempt is counted and recorded though it is refused (docs/pin.md)."""

    code: ClassVar[str] = "pin_wrong"
    title: ClassVar[str] = "This is not the member's PIN."
    remedy: ClassVar[str] = (
        "Ask for the PIN again and send it under a new key; with `attempts_left` 0 wait until `until`."
    )


class PinLocked(Forbidden):
    code: ClassVar[str] = "pin_locked"
    title: ClassVar[str] = "The PIN is locked after too many wrong ones."
    remedy: ClassVar[str] = (
        "Wait until `until`, or let support set another PIN (`POST /v1/members/{member}/pin`)."
    )


class PinChanged(Conflict):
    code: ClassVar[str] = "pin_changed"
    title: ClassVar[str] = "The member's PIN was changed while it was checked."
    remedy: ClassVar[str] = "Ask for the PIN once more, the new one, and send it under a new key."


class DatesContradict(Refused):
    code: ClassVar[str] = "contradictory_range"
    title: ClassVar[str] = "The dates contradict each other."
    remedy: ClassVar[str] = "Let `expires_at` lie after both `issued_at` and `activates_at`."


class ConfigurationStale(PreconditionFailed):
    code: ClassVar[str] = "configuration_stale"
    title: ClassVar[str] = "Another configuration has been published since the one this was made from."
    remedy: ClassVar[str] = (
        "Bring your change into configuration `number`, and send that one's `ETag` as `If-Match`."
    )


class ConfigurationFixed(Conflict):
    code: ClassVar[str] = "configuration_fixed"
    title: ClassVar[str] = "Money and zone cannot be changed, nor can a points currency be withdrawn."
    remedy: ClassVar[str] = (
        "Publish with the old `money`, `zone` and points currencies, or make another program for new ones."
    )


class EffectiveInPast(Refused):
    code: ClassVar[str] = "effective_in_past"
    title: ClassVar[str] = "A configuration comes in force when it is published, or later."
    remedy: ClassVar[str] = "Leave `effective_at` out to publish for now, or name an instant after `now`."


class DayNotOver(Conflict):
    code: ClassVar[str] = "day_not_over"
    title: ClassVar[str] = "The program day has not ended yet."
    remedy: ClassVar[str] = "Nothing before `ends_at`: `loyalty worker` closes the day after its end."


class TierSetNotFound(NotFound):
    code: ClassVar[str] = "tier_set_not_found"
    title: ClassVar[str] = "There is no such tier set."
    remedy: ClassVar[str] = (
        "Take an `id` of the configuration's `tier_sets` (`GET /v1/program/configurations`)."
    )


class TierInvalid(Refused):
    code: ClassVar[str] = "tier_invalid"
    title: ClassVar[str] = "The tier cannot be given so."
    remedy: ClassVar[str] = "Take a tier of that tier set, and an `until` that is still to come."


class NothingToImport(Conflict):
    code: ClassVar[str] = "nothing_to_import"
    title: ClassVar[str] = "What the row says is there already, or something later."
    remedy: ClassVar[str] = "Nothing: the row was counted as unchanged."


class StandingDiffers(Conflict):
    code: ClassVar[str] = "standing_differs"
    title: ClassVar[str] = "The member has another tier, or another end of it, since the same instant."
    remedy: ClassVar[str] = "Correct it by hand: `POST /v1/members/{member}/standing/{tier_set}`."


class NothingDue(Conflict):
    code: ClassVar[str] = "nothing_due"
    title: ClassVar[str] = "Nothing has fallen due on the member's accounts."
    remedy: ClassVar[str] = "Nothing: what falls due later is settled by itself."


class RedatePlanStale(Conflict):
    code: ClassVar[str] = "redate_plan_stale"
    title: ClassVar[str] = "The plan is no longer what would come about."
    remedy: ClassVar[str] = (
        "Ask for a new plan (`POST /v1/redates`), look at it, and confirm it by its `digest`."
    )


class DayClosed(Conflict):
    code: ClassVar[str] = "day_closed"
    title: ClassVar[str] = "The program day, or a later one, is closed already."
    remedy: ClassVar[str] = "Nothing: the day is closed already."


class ShuttingDown(Busy):
    code: ClassVar[str] = "shutting_down"
    title: ClassVar[str] = "The server is shutting down; try again."
    remedy: ClassVar[str] = "Keep the key, and try another process at once where there is one."


class Incident(Internal):
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side; the incident is recorded under the request id."
    remedy: ClassVar[str] = (
        "Tell whoever runs the server the `request_id`: what broke stands under it in the log."
    )
