"""The planted bugs: the program with one place made wrong, and the run that notices it in seconds.

Bug no. 1, head and book in one statement, has its own test in tests/races/test_stale_reads.py.
"""

from typing import NamedTuple

ALONE, CROWD = "alone", "crowd"  # kinds of simulations


class Bug(NamedTuple):
    """`right` in a file of src/loyalty becomes `wrong`; `by` fails: simulations of a kind, or a test by its name."""

    file: str
    right: str
    wrong: str
    by: str = ALONE


AHEAD = "tests/posting/test_ahead.py::test_"
LOTS = "tests/posting/test_lots_limit.py::test_"
LONG_WORK = "tests/web/test_long_work.py::test_"
LEDGER = {
    "points expire an instant late": Bug("ledger/settle.py", "if due <= now:", "if due < now:"),
    "the oldest lot is spent first": Bug(
        "ledger/lots.py",
        "(account.end_of(lot) or NEVER, lot.vintage_at, lot.id)",
        "(lot.vintage_at, lot.vintage_at, lot.id)",
    ),
    "what expired is taken back twice": Bug("ledger/undo.py", "(Bucket.EXPIRED, lot.expired),", ""),
    "the floor of a debt is forgotten at the second one": Bug(
        "ledger/undo.py", "floor - account.debt", "floor", "tests/pure/test_ledger_undo.py"
    ),
    "what is due and not written is in no month": Bug(
        "ledger/service.py",
        "moved += rollforward.unwritten(account, open_lots, open_holds, now, begins)",
        "list(rollforward.unwritten(account, open_lots, open_holds, now, begins))",
        "tests/posting/test_roll_forward.py::test_a_sweep_changes_no_figure",
    ),
    "a debt by hand let go is a credit like any": Bug(
        "ledger/rollforward.py",
        "if one.waived and one.kind is EntryKind.ADJUST_CREDIT:",
        "if False:",
        "tests/posting/test_roll_forward.py::test_every_movement_stands_in_its_month_and_column",
    ),
    "points that nobody knows where from are a month's own": Bug(
        "ledger/rollforward.py",
        "if one.opening + moved != one.closing:",
        "if False:",
        "tests/posting/test_roll_forward.py::test_what_does_not_add_up_is_named",
    ),
    "a month ends where the next one's first instant is in it": Bug(
        "ledger/rollforward.py",
        "bisect_right(begins, draft.occurred_at) - 1",
        "max(0, bisect_right(begins, draft.occurred_at - timedelta(microseconds=1)) - 1)",
        "tests/posting/test_roll_forward.py::test_a_sweep_changes_no_figure",
    ),
    "a month's end is a day off": Bug(
        "ledger/expiry.py",
        "last_day = period_end(_after(policy, earned_on) - _DAY, policy.round_up)",
        "last_day = period_end(_after(policy, earned_on), policy.round_up)",
    ),
    "a fixed day comes before its least number of days": Bug(
        "ledger/expiry.py",
        "earned_on + timedelta(days=policy.days_min - 1)",
        "earned_on",
        "tests/pure/test_ledger_expiry.py",
    ),
    "a day has always 24 hours": Bug(
        "ledger/expiry.py",
        "return Dates(activates_at, midnight(last_day + _DAY, zone), sliding(policy))",
        "return Dates(activates_at, midnight(last_day, zone) + _DAY, sliding(policy))",
    ),
    "points move before they came": Bug(
        "ledger/postings.py",
        "if at > lot.arrived_at:\n                lot.arrived_at = at\n            _bring_forward(account, lot)\n"
        "        elif target is Bucket.PENDING:",
        "_bring_forward(account, lot)\n        elif target is Bucket.PENDING:",
    ),
    "a balance may pass what can be counted": Bug(
        "ledger/lots.py", "account.held + points > POINTS_MAX", "account.held > POINTS_MAX"
    ),
    "a debt is not repaid by what matures": Bug(
        "ledger/settle.py",
        "if account.debt and (account.settled_at is None or account.settled_at <= at):",
        "if False:",
        "tests/pure/test_ledger_settle.py",
    ),
    "a hold that ran out keeps its points": Bug(
        "ledger/settle.py", "put(hold.lapses_at, _LAPSE, hold)", "pass"
    ),
    "what a capture leaves of a hold is lost": Bug(
        "ledger/holds.py", "left.append((lot_id, part - use))", "left.append((lot_id, part))"
    ),
    "an account does not know that its hold was extended": Bug(
        "posting/book.py", "book.retimed_accounts.add(key)", "pass", "tests/posting/test_ahead.py"
    ),
    "what comes back after its end is told as good": Bug(
        "ledger/holds.py",
        "if end is None or end > occurred_at:",
        "if True:",
        "tests/pure/test_ledger_holds.py",
    ),
    "a cancelled purchase keeps what it captured": Bug(
        "posting/decide/undo.py",
        "given = () if erased else returned.due(spent, [part.given for part in parts])",
        "given = ()",
    ),
    "somebody else's hold pays": Bug(
        "posting/decide/holds.py",
        "if member is None or work.book.hold(id).owner_id != member.id:",
        "if member is None:",
    ),
    "what is set aside can be had all the same": Bug(
        "rewards/availability.py",
        "here.stock - here.reserved < quantity",
        "here.stock < quantity",
        "tests/posting/test_reward_holds.py::test_what_is_set_aside_nobody_else_can_have",
    ),
    "a promise outlives its hold": Bug(
        "posting/book.py",
        "if reservation is None or reservation.ends_at <= self.now",
        "if reservation is None",
        "tests/posting/test_reward_holds.py::test_when_its_time_is_over_it_is_free_though_nobody_wrote_anything",
    ),
    "a promise ends at its first deadline": Bug(
        "posting/decide/holds.py",
        "hold.ended_at or hold.lapses_at)",
        "hold.deadlines[0].lapses_at)",
        "tests/posting/test_reward_holds.py::test_extended_it_stays_set_aside",
    ),
    "the hash leaves out when a block was recorded": Bug(
        "ledger/chain.py", "micros(recorded_at),", "0,", "tests/pure/test_ledger_chain.py"
    ),
    "a balance as of then shows what came later": Bug(
        "ledger/store.py",
        "entries.c.recorded_at <= recorded_by",
        "entries.c.recorded_at >= entries.c.recorded_at",
    ),
}
THE_RULES = {
    "the hours after midnight belong to the new day": Bug(
        "conditions/compile.py", "day -= timedelta(days=1)", "pass", "tests/pure/test_conditions.py"
    ),
    "a cap is not cut to what is left": Bug("rules/evaluate.py", "max(0, rule.cap - used)", "rule.cap"),
    "what is left of a split goes to the smallest remainders": Bug(
        "base/numbers.py",
        "[part * whole - share for",
        "[share - part * whole for",
        "tests/pure/test_numbers.py",
    ),
    "a month is a year": Bug(
        "base/calendar.py", "return on.isoformat()[:7]", "return on.isoformat()[:4]", ALONE
    ),
    "excluded tenders earn": Bug("posting/decide/purchase.py", "in currency.excluded_tenders", "in ()"),
}
POSTING = {
    "a purchase of the last possible instant is too old": Bug(
        "posting/decide/purchase.py",
        "policies.late_days_max is not None and command.occurred_at < work.now",
        "policies.late_days_max is not None and command.occurred_at <= work.now",
    ),
    "other content under the same receipt is a repeat": Bug(
        "posting/decide/purchase.py", "if held.content_digest in command.content_digests:", "if True:"
    ),
    "a till that is ahead makes points come in the future": Bug(
        "posting/decide/purchase.py",
        "occurred_at = min(command.occurred_at, work.now)",
        "occurred_at = command.occurred_at",
    ),
    "a purchase is judged by the program it was looked at with": Bug(
        "posting/decide/purchase.py", "considered.judged_by is not judged_by or", ""
    ),
    "a cancel keeps the cap used up": Bug(
        "posting/decide/undo.py", "work.count(member_id, CounterKey(rule_id, period), points)", "pass"
    ),
    "a claim may come a day late": Bug(
        "posting/decide/points.py",
        "if activity.occurred_at < work.now - timedelta(days=days_max):",
        "if activity.occurred_at < work.now - timedelta(days=days_max + 1):",
    ),
    "a claim is judged by the program of now": Bug(
        "posting/decide/points.py", "history.numbered(detail.judged_by)", "history.now"
    ),
    "an answer is not remembered": Bug(
        "posting/decide/__init__.py", "book.new_records[key] = record", "pass"
    ),
    "a key may be used for something else": Bug(
        "posting/decide/__init__.py",
        "if record.fingerprint not in submission.idempotency.fingerprints:",
        "if False:",
    ),
    "a clock may be set back": Bug("posting/decide/program.py", "if to < clock.now:", "if False:"),
}
PEOPLE = {
    "an erased member keeps identifiers": Bug(
        "posting/decide/people.py", "work.removed_identifiers.add(member.id)", "pass"
    ),
    "the blocked may buy": Bug(
        "posting/decide/outcome.py", "if member.status is MemberStatus.BLOCKED:", "if False:"
    ),
    "two people with one card each become the first of them": Bug(
        "posting/decide/people.py", "if len(known) > 1:", "if False:"
    ),
    "whoever is erased still owes": Bug(
        "posting/decide/people.py", "if account.debt:", "if False:", "tests/posting/test_people.py"
    ),
}
PIPE = {
    "answers are given although the commit failed": Bug(
        "posting/pipe.py",
        'await connection.execute("COMMIT" if decided.rows else "ROLLBACK")',
        'await asyncio.gather(connection.execute("COMMIT" if decided.rows else "ROLLBACK"), return_exceptions=True)',
        CROWD,
    ),
    "a lost commit is said to have written nothing": Bug(
        "posting/pipe.py", "waiting.sent = True", "pass", CROWD
    ),
    "what was decided ahead counts although somebody wrote in between": Bug(
        "posting/store.py",
        "WHERE hash = '\\\\x{lane.hash.hex()}'",
        "WHERE true",
        AHEAD + "whoever_was_decided_ahead_and_overtaken_is_decided_anew",
    ),
    "a process never hears of a new program": Bug(
        "posting/histories.py",
        "return found if known == number else await self.refresh(connection, program_id)",
        "return await self.refresh(connection, program_id) if found.empty else found",
        CROWD,
    ),
    "a batch forgets the cap counters of the one before it": Bug(
        "posting/book.py",
        "self.counters[key] = before.counters[key]",
        "pass",
        AHEAD + "a_cap_counts_the_batch_before",
    ),
    "a batch forgets who was blocked in the one before it": Bug(
        "posting/book.py",
        "self.members.update(before.changed_members)",
        "pass",
        AHEAD + "a_member_blocked_in_the_batch_before_may_not_buy",
    ),
    "a batch forgets what the one before it did to purchases": Bug(
        "posting/book.py",
        "self.activities[id] = activity\n            self.returns[id] = before",
        "self.returns[id] = before",
        AHEAD + "a_purchase_of_the_batch_before_can_be_cancelled",
    ),
    "a batch forgets the lots of the one before it": Bug(
        "posting/book.py",
        "self.lots.setdefault(lot.account_id, {})[lot.id] = lot\n        for hold in",
        "pass\n        for hold in",
        AHEAD + "points_of_the_batch_before_are_there_to_be_spent",
    ),
    "a batch forgets the holds of the one before it": Bug(
        "posting/book.py",
        "self.put_hold(hold)\n        for key in before",
        "pass\n        for key in before",
        AHEAD + "a_hold_of_the_batch_before_is_known_and_its_points_are_set_aside",
    ),
    "what was promised earlier is forgotten behind a batch that changes the stock": Bug(
        "posting/book.py",
        "self.set_aside[reward] + sum(",
        "sum(",
        AHEAD + "what_was_promised_earlier_is_kept_behind_a_batch_that_took_of_the_stock",
    ),
    "what a batch changes of a promise counts beside what it was": Bug(
        "posting/book.py",
        "self.set_aside[reward] -= ",
        "self.set_aside[reward] -= 0 * ",
        "tests/posting/test_redeeming_live.py::test_a_promise_that_changes_counts_as_it_is_now",
    ),
    "a refused command leaves its counters": Bug(
        "posting/book.py",
        "self.counted[owner_id, key] = max(",
        "self.book.counters[owner_id, key] = self.counted[owner_id, key] = max(",
    ),
}
STORE = {
    "a promise that the batch before changed is read as it was, too": Bug(
        "posting/store.py",
        "for id in book.reservations.get(reward, ())",
        "for id in ()",
        AHEAD + "what_the_batch_before_set_aside_of_a_stock_is_promised",
    ),
    "a cancel is not written": Bug(
        "posting/store.py", "for name in book.cancelled_names\n", "for name in ()\n"
    ),
    "an account forgets when something falls due": Bug(
        "posting/store.py", "active_at, next_due_at, first_entry_id", "active_at, first_entry_id"
    ),
    "a lot forgets when its points came": Bug(
        "posting/store.py",
        '"activates_at, expires_at, arrived_at, is_open',
        '"activates_at, expires_at, is_open',
    ),
    "counters of a cap are not raised twice": Bug(
        "posting/store.py", 'period, rule_id", changes="points")', 'period, rule_id", changes="period")'
    ),
    "events have a gap": Bug("posting/store.py", "lane.position + 1 + n,", "lane.position + 2 + n,"),
    "purchases of guests are claimed in name only": Bug(
        "posting/store.py", 'changes="member_id, awarded_by")', 'changes="awarded_by")'
    ),
    "lots that are pending are not read": Bug(
        "posting/store.py",
        "AND account_id = a.id AND is_open\n",
        "AND account_id = a.id AND is_open AND pending = 0\n",
    ),
    "a member may hold lots without end": Bug(
        "posting/store.py",
        "    book.full.update(full)\n",
        "",
        LOTS + "who_is_full_gets_no_new_lot",
    ),
    "who is found by an approval may hold lots without end": Bug(
        "posting/store.py",
        "    book.full.update(row[24])\n",
        "",
        LOTS + "a_credit_that_waits_is_refused_and_goes_on_waiting",
    ),
    "each account of a member has a limit of lots of its own": Bug(
        "posting/store.py",
        "FROM accs GROUP BY owner_id, cell\n",
        "FROM accs GROUP BY owner_id, cell, id\n",
        LOTS + "lots_of_all_accounts_count_and_points_do_not",
    ),
    "a batch gives lots without end": Bug(
        "posting/book.py",
        "owner_id in book.full or book.lots_given.get(owner_id, 0) + lots > LOTS_MAX",
        "owner_id in book.full",
        LOTS + "one_batch_gives_nobody_more_than_one_may_hold",
    ),
    "one entry moves more lots than it can count": Bug(
        "ledger/postings.py",
        "    if len(draft.postings) <= POSTINGS_MAX and len(draft.redates) <= POSTINGS_MAX:\n",
        "    if True:\n",
        LOTS + "many_lots_expire_in_several_entries",
    ),
    "more is spent at once than one entry can give back": Bug(
        "ledger/lots.py",
        "    if len(parts) > PARTS_MAX:\n        raise LotsLimitExceeded(lots_max=PARTS_MAX)\n",
        "",
        LOTS + "from_too_many_lots_nothing_is_spent_at_once",
    ),
    "long work stops the loop": Bug(
        "base/aside.py", "if pieces <= LONG:", "if True:", "tests/rooms/test_aside.py"
    ),
    "a lane decides long work on the loop": Bug(
        "posting/pipe.py",
        'await self._aside((book.program_id, "lane"), pieces, decide_some)',
        "decide_some()",
        LONG_WORK + "a_redemption_from_many_lots",
    ),
    "a long batch holds its transaction to its end": Bug(
        "posting/pipe.py",
        "if told and monotonic() > until:",
        "if False:",
        "tests/posting/test_road.py::test_what_a_batch_has_no_time_for_comes_first_in_the_next_one",
    ),
    "long work is measured by the rules in force now": Bug(
        "posting/decide/__init__.py",
        "judged_by, lines = history.at(bought.occurred_at)",
        "judged_by, lines = history.now",
        LONG_WORK + "rules_that_are_in_force_no_more_count",
    ),
    "whom many ask for at once is read for each of them": Bug(
        "posting/balances.py",
        "list(dict.fromkeys(members))",
        "list(members)",
        LONG_WORK + "whom_many_ask_for_at_once_is_read_once",
    ),
    "what is due is not told in the statement": Bug(
        "ledger/service.py",
        "    return account.next_due_at is not None and account.next_due_at <= now\n",
        "    return False\n",
        "tests/rooms/test_statement.py",
    ),
    "a command that asks for something else each time is broken off": Bug(
        "posting/pipe.py",
        "if error.keys in asked:  # it would never end",
        "if len(asked) == 7:",
        "tests/posting/test_many_visits.py::test_many_ladders_look_back_each_further_than_the_one_before",
    ),
    "who owes and holds too many lots cannot be erased": Bug(
        "posting/book.py",
        "if draft.lots and draft.cause != WAIVED:",
        "if draft.lots:",
        LOTS + "who_is_full_and_owes_is_erased",
    ),
}
RETURNED = {
    "a later part takes its share anew": Bug(
        "posting/returned.py", "still[index] -= points", "pass", "tests/laws/test_returns_exactly.py"
    ),
    "a share of what goes back is rounded up": Bug(
        "posting/returned.py",
        "return figure * (whole - left) // whole",
        "return -(-figure * (whole - left) // whole)",
        "tests/laws/test_returns_exactly.py",
    ),
    "today's rules judge what is left": Bug(
        "posting/decide/undo.py",
        "work.book.history.numbered(detail.judged_by)",
        "work.policies",
        "tests/posting/test_returns.py::test_whether_a_bonus_is_lost_the_rules_of_then_say",
    ),
    "a batch forgets what went back in the one before it": Bug(
        "posting/book.py", "self.returns[id] = before.returns[id]", "pass", "tests/posting/test_ahead.py"
    ),
    "a bonus stays though nothing is left of its reason": Bug(
        "posting/decide/undo.py", "award.points if index in unmet else", ""
    ),
    "a guest's goods that went back are claimed with the rest": Bug(
        "posting/decide/points.py", "if parts:", "if False:"
    ),
}
RET = "posting/decide/returns.py"
RETURNED |= {
    "more may go back than was bought": Bug(RET, "if not 0 < units <= left[position]:", "if not 0 < units:"),
    "what went back goes back again": Bug(RET, "if any(part.complete for part in parts):", "if False:"),
    "another return under the same number is a repeat": Bug(
        RET, "if held.content_digest in command.content_digests:", "if True:"
    ),
    "goods that nobody sold are taken back against the policy": Bug(
        RET,
        "if command.of is None or policies.blind_returns is BlindReturns.REFUSE:",
        "if command.of is None:",
    ),
    "what paid for a purchase comes back to the lots taken first": Bug(
        "posting/returned.py",
        "in reversed(parts):\n        over",
        "in parts:\n        over",
        "tests/posting/test_returns_of_what_was_paid.py",
    ),
    "a claim of the batch before hides the purchase's id": Bug(
        "posting/book.py",
        "self.names_of[id] = before.names_of[id]",
        "pass",
        AHEAD + "a_purchase_claimed_in_the_batch_before_is_still_found_by_its_id",
    ),
    "an exchange is no exchange when it is told again": Bug(
        RET, "if first is not None and wholes[0] is not None and wholes[0] == wholes[1]:", "if False:"
    ),
}
HOLDS = {
    "a hold may be kept for ever": Bug(
        "posting/decide/holds.py", "if deadline.lapses_at > latest:", "if False:"
    ),
    "every extension begins anew": Bug(
        "posting/decide/holds.py",
        "_refuse_too_long(work, hold.held_at, deadline)",
        "_refuse_too_long(work, work.now, deadline)",
        "tests/posting/test_holds.py",
    ),
    "an extension may bring the end forward": Bug(
        "posting/decide/holds.py", "if lapses_at <= hold.lapses_at:", "if False:"
    ),
    "more may be captured than is held": Bug("ledger/holds.py", "if points > held:", "if False:"),
    "what a purchase leaves of a hold stays held": Bug(
        "posting/decide/holds.py", "if release_rest and hold.parts:", "if False:"
    ),
    "the blocked may still use a hold": Bug(
        "posting/decide/holds.py",
        "active(work.book.member(hold.owner_id))\n    hold, _ = _take",
        "hold, _ = _take",
        "tests/posting/test_holds.py",
    ),
}
RED = "posting/decide/redemption.py"
REDEMPTIONS = {
    "a reward has always one more in stock": Bug(
        "rewards/availability.py",
        "here.stock - here.reserved < quantity",
        "here.stock - here.reserved < 0",
    ),
    "a reward's limit has room for one more": Bug(
        "rewards/availability.py", "here.used + quantity > limit.quantity", "here.used > limit.quantity"
    ),
    "a reward can be had on the day after its last": Bug(
        "rewards/availability.py",
        "on > reward.to_on:",
        "on > reward.to_on + timedelta(days=1):",
        "tests/posting/test_rewards.py",
    ),
    "what is given back does not come back to the stock": Bug(
        RED, "work.restock(reward.id, redemption.quantity)", "pass"
    ),
    "what is given back leaves the limit used up": Bug(
        RED,
        "work.use(redemption.member_id, key, -used)",
        "pass",
        "tests/posting/test_rewards.py::test_a_limit_is_given_back_in_the_period_in_which_it_was_used",
    ),
    "the limit of the day it was given back has room again": Bug(
        RED,
        "in _used(priced_by, redemption):",
        "in _used(priced_by, msgspec.structs.replace(redemption, redeemed_at=work.now)):",
    ),
    "whatever was handed over comes back": Bug(
        RED,
        "if redemption.state is RedemptionState.FULFILLED and not _returnable(",
        "if False and not _returnable(",
    ),
    "what is given back twice comes back twice": Bug(
        RED,
        "if redemption.state is RedemptionState.CANCELLED:\n        raise Replay",
        "if False:\n        raise Replay",
    ),
    "a day's payments may pass the limit once": Bug(
        RED, "if used + command.points > most:", "if used > most:"
    ),
    "points given back after their end get no new one": Bug(
        "posting/decide/undo.py", "if not late or not days:", "if True:"
    ),
    "points come back to whoever is erased": Bug(
        "posting/decide/undo.py",
        "if member.status is MemberStatus.ERASED:\n        for draft",
        "if False:\n        for draft",
        "tests/posting/test_rewards.py",
    ),
    "a stock may fall below nothing": Bug(
        RED, "if not reserved <= after <= max(before, STOCK_MAX):", "if after > max(before, STOCK_MAX):"
    ),
    "a batch forgets redemptions of the one before it": Bug(
        "posting/book.py",
        "self.redemptions[id] = redemption\n        for reward",
        "pass\n        for reward",
        "tests/posting/test_ahead.py",
    ),
    "a batch forgets the stock of the one before it": Bug(
        "posting/book.py",
        "self.stocks[reward] = before.stocks[reward]",
        "pass",
        AHEAD + "what_the_batch_before_took_is_out_of_stock",
    ),
}
PIPE |= {
    "a batch forgets the identifiers of the one before it": Bug(
        "posting/book.py",
        "self.identifiers.update(before.new_identifiers)",
        "pass",
        AHEAD + "an_identifier_of_the_batch_before_counts",
    ),
    "a batch forgets the answers of the one before it": Bug(
        "posting/book.py",
        "self.decisions[decision.id] = before.decisions[decision.id]",
        "pass",
        AHEAD + "a_receipt_of_the_batch_before_is_known",
    ),
}
HAND, LIMITS, GIVEN = (f"posting/decide/{room}.py" for room in ("adjustments", "limits", "transfers"))
BY_HAND = {
    "whoever proposed it may approve it": Bug(HAND, "if actor.id == proposal.proposed_by:", "if False:"),
    "a machine may approve": Bug(HAND, 'if actor.kind != "staff":', "if False:"),
    "a proposal that lapsed may be approved": Bug(HAND, "if work.now >= proposal.lapses_at:", "if False:"),
    "a proposal may be approved twice": Bug(HAND, 'if proposal.state != "proposed":', "if False:"),
    "what is too large for one person is done at once": Bug(
        HAND, "abs(command.points) > policy.approval_above", "command.points > policy.approval_above"
    ),
    "a person's day has no end": Bug(HAND, "if used + points > maximum:", "if used > maximum:"),
    "a write-off lets go more than is owed": Bug(HAND, "min(points, account.debt),", "points,"),
    "what is let go has an end": Bug(HAND, "dates=Dates(None, None),", "dates=None,"),
    "a second person's word is held to the limits": Bug(
        HAND, "proposal.reason, limited=False", "proposal.reason, limited=True"
    ),
    "a frozen account is spent from": Bug(
        "posting/decide/outcome.py",
        "return said if said is not None and said.frozen else None",
        "return None",
    ),
    "an account can never be used again once it was frozen": Bug(
        "posting/decide/outcome.py", "said is not None and said.frozen else", "said is not None else"
    ),
    "what is spent at a till is not counted": Bug(LIMITS, 'actor.role == "pos"', "False"),
    "a till's limit counts for each lane": Bug(
        "posting/store.py",
        "if (cell == 0 if key.of_program else mine(owner_id))",
        "if mine(owner_id)",
        "tests/posting/test_desk_in_eight_lanes.py",
    ),
    "a till's limit counts for each process": Bug(
        "posting/store.py",
        "if (cell == 0 if key.of_program else",
        "if (False if key.of_program else",
        "tests/posting/test_desk_on_the_road.py",
    ),
    "what was spent before a change does not count after it": Bug(
        LIMITS,
        "policy.member_day_max is not None or policy.changed_hours",
        "policy.member_day_max is not None",
        "tests/posting/test_freezes_and_limits.py",
    ),
    "whoever changed spends as before": Bug(
        LIMITS, "if lower_until is not None and work.now < lower_until:", "if False:"
    ),
    "a week of spending is a day": Bug(
        LIMITS,
        "period_of(on, CapPeriod.WEEK)",
        "period_of(on, CapPeriod.DAY)",
        "tests/posting/test_freezes_and_limits.py",
    ),
    "a refused attempt leaves nothing": Bug(
        "posting/decide/__init__.py", "SpendingLimit: limits.attempt,", ""
    ),
}
TRANSFERS = {
    "a transfer forgets its fee": Bug(GIVEN, "    if fee:\n", "    if False:\n"),
    "a fee need not be there": Bug(
        GIVEN,
        "spendable(work, account) < points + fee",
        "spendable(work, account) < points",
        "tests/posting/test_transfers.py",
    ),
    "points that are given get a new end": Bug(
        "ledger/transfers.py",
        "            expires_at=giver.end_of(lots[lot_id]),\n            arrived_at",
        "            expires_at=None,\n            arrived_at",
    ),
    "points that are given are as young as their transfer": Bug(
        "ledger/transfers.py", "vintage_at=lots[lot_id].vintage_at,", "vintage_at=occurred_at,"
    ),
    "what a giver gave is not counted": Bug(
        GIVEN, "work.use(giver.id, key, points)", "pass", "tests/posting/test_transfers.py"
    ),
    "a fee is not spent": Bug(
        GIVEN,
        "within_limits(work, giver.id, currency.code, points + fee)",
        "within_limits(work, giver.id, currency.code, points)",
        "tests/posting/test_freezes_and_limits.py",
    ),
    "whoever gets points still owes": Bug(
        GIVEN, "work.settle(taken)", "pass", "tests/posting/test_transfers.py"
    ),
    "one gives to oneself": Bug(GIVEN, "if giver.id == taker.id:", "if False:"),
}
PIPE |= {
    "a batch forgets the proposals of the one before it": Bug(
        "posting/book.py",
        "self.proposals[id] = before.proposals[id]",
        "pass",
        AHEAD + "a_proposal_decided_in_the_batch_before_is_decided",
    ),
    "a batch forgets who was frozen in the one before it": Bug(
        "posting/book.py",
        "self.freezes[key] = before.freezes[key]",
        "pass",
        AHEAD + "an_account_frozen_in_the_batch_before_gives_nothing",
    ),
    "a batch forgets who changed in the one before it": Bug(
        "posting/book.py",
        "self.changes[id] = before.changes[id]",
        "pass",
        AHEAD + "limits_count_the_batch_before",
    ),
    "a batch forgets what limits have counted in the one before it": Bug(
        "posting/book.py",
        "self.counters[key] = before.counters[key]",
        "pass",
        AHEAD + "limits_count_the_batch_before",
    ),
}
LADDERS = "tests/pure/test_tiers.py"
TIERS = {
    "a threshold must be passed": Bug(
        "tiers/measure.py", "bisect_right(ladder.tiers", "bisect_left(ladder.tiers", LADDERS
    ),
    "a tier falls a period early": Bug(
        "tiers/review.py", "for _ in range(lasts):", "for _ in range(lasts - 1):", LADDERS
    ),
    "a purchase told late raises no tier": Bug(
        "tiers/review.py",
        "late = occurred_on < today and not returned",
        "late = False",
        LADDERS,
    ),
    "a tier by hand outlives its end": Bug(
        "tiers/review.py", "standing.manual.until <= due", "standing.manual.until < due", LADDERS
    ),
    "grace begins anew at every review": Bug(
        "tiers/review.py",
        "if falls_on is None and ladder.grace_days:",
        "if ladder.grace_days:",
        LADDERS,
    ),
    "a rolling window holds a day too many": Bug(
        "tiers/windows.py", "on - timedelta(days=(days or 1) - 1)", "on - timedelta(days=days or 1)", LADDERS
    ),
    "an anniversary forgets the day of joining": Bug(
        "tiers/windows.py",
        "return Window(first, add_months(joined_on, (whole + 1) * months) - _DAY)",
        "return Window(first, add_months(first, months) - _DAY)",
        LADDERS,
    ),
}
STANDING = "posting/decide/standing.py"
STANDINGS = {
    "a return leaves the figures of its purchase": Bug(STANDING, "-spend_minor, -complete, left", "0, 0, ()"),
    "a purchase counts for the day on which it is told": Bug(
        STANDING, "on, today = local_date(occurred_at, zone)", "on, today = local_date(now, zone)"
    ),
    "a late purchase is judged by the tier of today": Bug(
        STANDING, "if on >= local_date(work.now, zone):", "if True:"
    ),
    "a late purchase knows nothing of a tier that was given and has ended": Bug(
        "tiers/review.py",
        "max(_effective(ladder, lived), place(ladder, counted))",
        "_effective(ladder, lived)",
        "tests/posting/test_tiers.py::test_a_late_purchase_has_the_tier_that_was_given_for_its_day_also_once_that_has_ended",
    ),
    "the end of what is given back forgets that its lot is good for longer": Bug(
        "posting/decide/adjustments.py",
        "return min(redate.new_expires_at or ends_at for redate in draft.redates)",
        "return ends_at",
        "tests/posting/test_reinstatements.py::test_points_whose_lot_is_good_for_longer_are_told_to_be_so",
    ),
    "a ladder that changed counts from the next look on": Bug(
        "posting/ways.py",
        "after, standing, ladder, days, one.effective_at, zone, left=left",
        "after, standing, ladder, days, self._until, zone, left=left",
        "tests/insight/test_forecast.py::test_ladders_to_come_are_climbed_and_one_that_goes_is_left",
    ),
    "a tier of a ladder that was left out still counts once it is back": Bug(
        "tiers/review.py",
        "        held = left\n",
        "        pass\n",
        "tests/posting/test_tiers.py::test_a_tier_that_a_ladder_brought_back_does_not_give_is_lost_though_the_clock_stood",
    ),
    "what a batch did is forgotten where no ladder is left": Bug(
        STANDING,
        "and work.book.history.laddered",
        "and before",
        "tests/posting/test_tiers_live.py::test_late_purchases_of_one_batch_know_of_each_other_though_no_ladder_is_left",
    ),
    "reviews are written and their steps forgotten": Bug(STANDING, "work.moves.append(", "[].append("),
    "the erased are reviewed on": Bug(
        STANDING, "standing=replace(last.standing, next_review_at=None)", "standing=last.standing"
    ),
    "days of a batch before are counted twice": Bug(
        "posting/book.py",
        "self.days_since[id], self.days[id] = before.days_since[id], dict(before.days[id])",
        "pass",
        AHEAD + "days_of_the_batch_before_are_counted_once",
    ),
    "a second purchase of a day takes the place of the first": Bug(
        "posting/store.py",
        "spend_minor = member_days.spend_minor + excluded.spend_minor",
        "spend_minor = excluded.spend_minor",
    ),
    "a ladder asks for too few days": Bug(
        "tiers/review.py",
        "* (max(lasts, longest) + 1))",
        "* max(lasts, longest))",
        f"{LADDERS}::test_a_look_back_reaches_the_first_day_of_an_anniversary",
    ),
    "a configuration of the same instant is overlooked": Bug(
        "posting/configuration.py",
        "behind = self._by_instant[self._by_instant.index(self._loaded[number - 1]) + 1 :]",
        "behind = [one for one in self._by_instant if one.effective_at > self._loaded[number - 1].effective_at]",
    ),
}
SWEEP = "tests/jobs/test_due.py::test_"
MOVE = "tests/jobs/test_moves.py::test_"
IMPORT = "tests/jobs/test_imports.py::test_"
NOTICES = "tests/posting/test_notices.py::test_"
NIGHTS = "tests/jobs/test_notices.py::test_"
EXPIRING = "tests/posting/test_expiry.py::test_"
EXPIRY = {
    "activity keeps nothing": Bug(
        "ledger/expiry.py",
        "account.idles_at = idles_at\n",
        "pass\n",
        EXPIRING + "an_activity_keeps_all_points_for_as_long_again",
    ),
    "an older activity takes an end back": Bug(
        "ledger/expiry.py",
        "(account.idles_at is not None and idles_at <= account.idles_at)",
        "False",
        EXPIRING + "an_older_activity_never_takes_an_end_back",
    ),
    "whatever is done counts as activity": Bug(
        "ledger/expiry.py",
        "if ACTIVITIES.get(kind) not in policy.resets:",
        "if kind not in ACTIVITIES:",
        EXPIRING + "points_given_by_hand_are_good_for_their_own_time_and_keep_no_others",
    ),
    "points that slide are spent by the end they once had": Bug(
        "ledger/lots.py",
        "(account.end_of(lot) or NEVER,",
        "(lot.expires_at or NEVER,",
        EXPIRING + "what_ends_first_is_spent_first_by_the_end_that_activity_has_come_to",
    ),
    "what was set aside comes back as if nobody had done anything": Bug(
        "ledger/holds.py",
        "end = account.end_of(lot)",
        "end = lot.expires_at",
        EXPIRING + "what_was_set_aside_comes_back_good_where_activity_has_put_its_end_off",
    ),
    "what slid ends on paper when it would have without its owner": Bug(
        "ledger/settle.py",
        "redates=ended(account, over)",
        "redates=()",
        EXPIRING + "what_ended_is_given_back_by_the_day_on_which_it_ended_whatever_was_done_since",
    ),
    "what was set aside ends on paper when it would have without its owner": Bug(
        "ledger/holds.py",
        "redates.extend(ended(account, (lot,)))",
        "pass",
        EXPIRING + "what_was_set_aside_and_ended_meanwhile_is_given_back_by_the_day_of_its_end",
    ),
    "points that ended slide on": Bug(
        "ledger/types.py",
        "(self.expired or self.was_expired)",
        "self.was_expired",
        EXPIRING + "what_comes_back_to_points_that_ended_is_lost_whatever_was_done_since",
    ),
    "points that ended slide on once a return took them": Bug(
        "ledger/types.py",
        "(self.expired or self.was_expired)",
        "self.expired",
        EXPIRING + "what_ended_stays_so_though_a_return_takes_back_what_had_expired",
    ),
    "points with a date of their own slide on": Bug(
        "ledger/types.py",
        "            and self.expires_at == self.issued_expires_at\n",
        "",
        EXPIRING + "a_hold_with_grace_gives_what_slid_an_end_that_stays",
    ),
    "points given away lose what activity did for them": Bug(
        "ledger/transfers.py",
        "            expires_at=giver.end_of(lots[lot_id]),\n            arrived_at",
        "            expires_at=lots[lot_id].expires_at,\n            arrived_at",
        EXPIRING + "points_given_away_keep_the_end_they_had_come_to",
    ),
    "points as of then know what their owner did later": Bug(
        "ledger/asof.py",
        "stir(account, apply(account, lots, draft, id=entry.id, decision_id=entry.decision_id), zone)",
        "apply(account, lots, draft, id=entry.id, decision_id=entry.decision_id)",
        "tests/posting/test_expiry_live.py::test_every_reading_knows_the_end_that_activity_has_come_to",
    ),
    "the day of joining is an anniversary": Bug(
        "ledger/expiry.py", "nth = max(1,", "nth = max(0,", "tests/pure/test_calendar_table.py"
    ),
    "a tier's word goes before a rule's": Bug(
        "posting/decide/terms.py",
        "expiry = own.expiry or expiry",
        "expiry = of_tiers(code, judged_by, tiers) or own.expiry or expiry",
        EXPIRING + "points_of_a_tiers_holder_end_as_the_tier_or_one_below_it_says",
    ),
    "a return takes all from the first lot of a points currency": Bug(
        "posting/detail.py",
        "if self.into:",
        "if False:",
        EXPIRING + "a_return_takes_of_each_lot_what_its_own_awards_gave_for_the_line",
    ),
    "an account forgets how far its points slide": Bug(
        "posting/store.py",
        'last_entry_id, slides, "\n    "idles_at"',
        'last_entry_id, "\n    "slides"',
        "tests/posting/test_expiry_live.py",
    ),
    "verify believes how far points slide": Bug(
        "ledger/verify/accounts.py",
        'if (row["slides"], row["idles_at"]) != (account.slides, account.idles_at):',
        "if False:",
        "tests/posting/test_expiry_live.py",
    ),
}
JOBS = {
    "others write while a clock is moved": Bug(
        "posting/decide/__init__.py",
        "and book.clock.moving_to and not isinstance",
        "and False and not isinstance",
    ),
    "a clock has arrived at its first stop": Bug(
        "posting/decide/program.py", "clock.moving_to if on_its_way else None", "None"
    ),
    "a clock passes over what is due between two midnights": Bug(
        "jobs/moves.py",
        "min(at for at in (*instants, *due) if at is not None)",
        "min(instants)",
        MOVE + "what_is_due_is_written_at_its_instant_before_the_clock_goes_on",
    ),
    "a move forgets which days it has told": Bug(
        "jobs/moves.py",
        "            await _note(runtime, program_id, today)",
        "            pass",
        MOVE + "nothing_is_told_of_days_that_a_move_has_lived_through",
    ),
    "a sweep looks at a program whose clock is moved": Bug(
        "jobs/programs.py",
        "return clock.now if clock.moving_to is None else None",
        "return clock.now",
        MOVE + "nothing_is_told_of_days_that_a_move_has_lived_through",
    ),
    "a busy moment is a try": Bug(
        "jobs/runs.py",
        "await _again(runtime, run, counted=False)",
        "await _again(runtime, run)",
        "tests/jobs/test_runs.py::test_a_busy_moment_is_no_try_however_often_it_comes",
    ),
    "a clock on its way ends a run": Bug(
        "jobs/road.py",
        "ShuttingDown, ClockMoving)",
        "ShuttingDown)",
        "tests/jobs/test_redates.py::test_a_redate_waits_for_a_clock_on_its_way",
    ),
    "a move tells of nothing ahead": Bug(
        "jobs/moves.py",
        "at is not None and at <= until",
        "at is not None and at <= now",
        MOVE + "each_day_of_a_move_tells_what_is_ahead",
    ),
    "a move tells of no tier where no points are left": Bug(
        "jobs/moves.py",
        "in zip(due, horizons(here, today), strict=True)",
        "in zip(due[:1], horizons(here, today)[:1], strict=True)",
        MOVE + "each_day_of_a_move_tells_what_is_ahead",
    ),
    "lots are looked at too late for a notice": Bug(
        "jobs/store.py",
        '"latest": max((upto for _, upto in ends), default=now)',
        '"latest": min((upto for _, upto in ends), default=now)',
        NIGHTS + "each_night_tells_what_ends_so_many_days_on",
    ),
    "a ladder that comes in force on the way is overlooked": Bug(
        "jobs/moves.py",
        "if here.ladders != last.ladders:",
        "if False:",
        MOVE + "what_is_due_is_written_at_its_instant_before_the_clock_goes_on",
    ),
    "a move that failed is given up": Bug(
        "jobs/store.py",
        "AND r.state IN ('queued', 'running'))",
        ")",
        MOVE + "a_move_that_is_killed_or_fails_is_gone_on_with",
    ),
    "a sweep writes that nothing was due": Bug(
        "posting/decide/points.py", "if not review_all(work, member) and not work.entries:", "if False:"
    ),
    "a sweep ends after its first chunk": Bug(
        "jobs/due.py", "if left or len(due) < CHUNK:", "if True:", SWEEP + "many_are_settled_chunk_by_chunk"
    ),
    "a sweep goes on as before beside a till": Bug(
        "jobs/road.py",
        "min(FEW, len(waiting))",
        "min(TOGETHER, len(waiting))",
        SWEEP + "it_stands_back_while_another_process_writes",
    ),
    "a sweep goes by real time": Bug(
        "jobs/due.py",
        "now = await standing_clock(runtime, program_id)",
        "now = runtime.clock.now()",
        SWEEP + "a_sandbox_is_settled_by_its_own_clock",
    ),
    "an import begins anew for whoever takes it over": Bug(
        "jobs/imports/work.py",
        "start = (self.progress.read_to, self.progress.line)",
        "pass",
        IMPORT + "a_run_that_is_stopped_anywhere_goes_on_and_takes_each_row_once",
    ),
    "who was taken over notes on": Bug(
        "jobs/imports/store.py",
        ".where(select(runs.c.id).where(ours(run)).exists())",
        "",
        IMPORT + "who_was_taken_over_notes_nothing_more",
    ),
    "a quote that nobody closes takes the rows behind it": Bug(
        "jobs/imports/reader.py",
        'return stop, "unclosed_quote"',
        'return start + ROW_BYTES_MAX, "unclosed_quote"',
        "tests/jobs/test_import_reader.py",
    ),
    "an older file takes back what a manager gave": Bug(
        "posting/decide/standing.py",
        "held == given or held.given_at > given.given_at",
        "held == given",
        IMPORT + "a_standing_since_later_stays_and_one_that_differs_is_told",
    ),
    "a member of a former system counts from today": Bug(
        "posting/decide/people.py",
        "member = _join(work, command, enrolled_at)",
        "member = _join(work, command, work.now)",
        IMPORT + "members_lots_and_standings_come_in_and_the_books_are_whole",
    ),
    "a sweep looks into one lane": Bug(
        "jobs/due.py",
        "range(runtime.settings.cells)",
        "range(1)",
        "tests/posting/test_lanes.py::test_what_is_due_is_found_in_every_lane",
    ),
    "a notice is told again": Bug(
        "posting/decide/notices.py",
        "if notice in work.book.told(member.id, command.on):",
        "if False:",
        NOTICES + "a_notice_is_told_once_however_often_it_is_looked_for",
    ),
    "the day after the last is told as the last": Bug(
        "posting/decide/notices.py",
        "day = last_day_on(at, work.policies.zone)",
        "day = local_date(at, work.policies.zone)",
        NOTICES + "points_are_told_thirty_and_seven_days_before_their_last_day",
    ),
    "a night that was cut short counts as done": Bug(
        "jobs/notices.py",
        "program_id, cell, WORK, day, after)",
        "program_id, cell, WORK, day, None)",
        NIGHTS + "a_night_that_was_cut_short_goes_on_behind_the_last_member",
    ),
    "missed nights are left out": Bug(
        "jobs/notices.py",
        "return (day, after) if day >= oldest else (oldest, NIL)",
        "return local_date(now, in_force.zone), NIL",
        NIGHTS + "missed_nights_are_made_up_and_what_has_passed_is_dropped",
    ),
    "a batch remembers no notices": Bug(
        "posting/store.py",
        "book.notices.setdefault(member_id, set()).add(Notice(*notice))",
        "pass",
        NIGHTS + "two_who_tell_at_once_tell_it_once",
    ),
    "the erased leave their notices": Bug(
        "posting/store.py",
        "(_NOTICES_GONE, erased),",
        "",
        NIGHTS + "the_erased_leave_no_notice_and_past_ones_are_forgotten",
    ),
    "what has another end once it is settled is not looked for": Bug(
        "jobs/store.py",
        "a.next_due_at <= :now OR EXISTS (",
        "a.next_due_at < NULL AND a.next_due_at <= :now OR EXISTS (",
        NIGHTS + "points_that_get_another_end_once_they_are_settled_are_found_before_they_are",
    ),
    "laws are checked though no day was closed": Bug(
        "jobs/laws.py",
        'given = {"asked_on": asked_on, "closed": closed.isoformat()}',
        'given = {"asked_on": asked_on}',
        "tests/jobs/test_laws.py::test_one_verification_a_day_however_many_days_were_closed",
    ),
    "a program takes the places of all others": Bug(
        "jobs/crew.py",
        "for one in others) < SHARE",
        "for one in others) < RUNS_MAX",
        "tests/jobs/test_crew.py::test_a_program_with_many_runs_leaves_room_for_the_others",
    ),
    "a move waits for what waits for it": Bug(
        "jobs/crew.py",
        "if run.kind is RunKind.CLOCK:",
        "if False:",
        "tests/jobs/test_crew.py::test_a_clock_on_its_way_does_not_wait_for_what_waits_for_it",
    ),
    "an orderly stop is a try": Bug(
        "jobs/runs.py",
        "asyncio.shield(_again(runtime, run, counted=False))",
        "asyncio.shield(_again(runtime, run))",
        "tests/jobs/test_runs.py::test_workers_that_are_told_to_stop_give_a_run_back_at_once_however_often",
    ),
    "who was taken over is known by its tries": Bug(
        "jobs/store.py",
        "runs.c.started_at == run.started_at",
        "runs.c.tries == run.tries",
        "tests/jobs/test_runs.py::test_who_is_taken_over_says_nothing_more_though_the_tries_began_anew",
    ),
    "rubbish in the queue stays": Bug(
        "jobs/worker.py",
        "await pool.delete(QUEUE, abort_jobs_ss)",
        "pass",
        "tests/jobs/test_worker.py::test_rubbish_in_valkey_is_dropped_and_the_worker_goes_on",
    ),
}
FORECAST, PLAN = "tests/insight/test_forecast.py::test_", "tests/insight/test_plan.py::test_"
AHEAD_OF_TIME = {
    "a forecast tells once more what was due before": Bug(
        "insight/ahead/forecast.py",
        "if entry.occurred_at > now:",
        "if True:",
        f"{FORECAST}what_is_due_by_now_is_not_to_come_and_the_erased_have_nothing_to_come",
    ),
    "a forecast overlooks what expires as its hold lapses": Bug(
        "insight/ahead/forecast.py",
        "if posting.target is Bucket.EXPIRED:",
        "if entry.kind is EntryKind.EXPIRE:",
        f"{FORECAST}each_week_says_what_activates_and_what_expires_of_whom_and_what_it_is_worth",
    ),
    "what happens as a week begins is told for the week before": Bug(
        "insight/ahead/forecast.py",
        "bisect_right(self._begin_at, at)",
        "bisect_right(self._begin_at, at - _INSTANT)",
        f"{FORECAST}each_week_says_what_activates_and_what_expires_of_whom_and_what_it_is_worth",
    ),
    "a forecast reads too few days": Bug(
        "insight/ahead/store.py",
        "since[id] = min(way.since, since.get(id, date.max))",
        "since[id] = max(way.since, since.get(id, date.min))",
        f"{FORECAST}of_two_ladders_each_has_the_days_that_it_counts",
    ),
    "a plan names those whom another ladder moves": Bug(
        "insight/ahead/plan.py",
        "stand = {id: (history, now) for id in ladders if id in in_force}",
        "stand = {id: (history.planning(configuration, now), now) for id in ladders if id in planned.at(now).ladders}",
        f"{PLAN}a_ladder_that_came_in_force_and_was_not_written_yet_is_none_of_the_plan",
    ),
    "a plan begins with the ladder that was left out": Bug(
        "insight/ahead/plan.py",
        'history if one.change == "left_out" else planned',
        "planned",
        f"{PLAN}a_plan_tells_what_becomes_of_every_ladder_and_names_some_who_move",
    ),
}
DATES = {
    "what ended long ago may come back": Bug(
        "posting/book.py",
        "lot.expires_at and lot.expires_at > since}",
        "lot.expires_at}",
        "tests/posting/test_reinstatements.py::test_the_time_to_give_back_is_counted_in_local_days_after_the_last_good_one",
    ),
    "what comes back by hand counts for nobody": Bug(
        "posting/decide/adjustments.py",
        "_count_for_actor(work, currency, points)\n    ends_at",
        "ends_at",
        "tests/posting/test_reinstatements.py::test_it_counts_with_what_one_person_gives_by_hand_on_a_day",
    ),
    "what comes back cuts a lot that is good for longer": Bug(
        "ledger/undo.py",
        "_later(lot.expires_at, expires_at)",
        "expires_at",
        "tests/pure/test_ledger_undo.py::test_a_lot_that_is_good_for_longer_is_not_cut_by_what_comes_back_to_it",
    ),
    "the figures of a redate go with the worker": Bug(
        "jobs/redates.py",
        "await keep(runtime, run, report, msgspec.to_builtins(place))",
        "pass",
        "tests/jobs/test_redates.py::test_a_run_that_dies_half_way_is_taken_over_where_it_was",
    ),
    "a plan is done as often as it is confirmed": Bug(
        "jobs/redates.py",
        "if known is not None:",
        "if False:",
        "tests/jobs/test_redates.py::test_what_is_confirmed_is_done_once",
    ),
    "lots with dates of their own follow the policy": Bug(
        "ledger/redates.py",
        "if lot.expires_at == end or not given:",
        "if lot.expires_at == end:",
        "tests/pure/test_ledger_redates.py::test_a_lot_with_dates_of_its_own_keeps_them",
    ),
    "an older policy is taken for the one that dated a lot": Bug(
        "posting/decide/redates.py",
        "history.succession(number, now)",
        "history.until(now)",
        "tests/posting/test_redates.py",
    ),
    "a lot is redated once in its life": Bug(
        "ledger/redates.py",
        "given = lot.expires_at == first_end or any(\n"
        "        lot.expires_at == _end(one, lot, zone, joined_on) for one in since\n    )",
        "given = lot.expires_at == first_end",
        "tests/pure/test_ledger_redates.py::test_a_lot_that_was_redated_before_is_redated_again",
    ),
    "pending points end before they are good": Bug(
        "ledger/redates.py",
        "end <= lot.activates_at:",
        "False:",
        "tests/pure/test_ledger_redates.py::test_pending_points_are_not_made_to_end_before_they_are_good",
    ),
    "a plan holds whatever the policy is": Bug(
        "posting/decide/redates.py",
        "return then.currencies[points_currency].expiry == in_force.currencies[points_currency].expiry",
        "return True",
        "tests/posting/test_redates.py::test_a_plan_of_a_policy_that_was_changed_again_is_refused",
    ),
    "a run that was taken over begins anew": Bug(
        "jobs/redates.py",
        'return msgspec.convert(told, Place) if "after" in told else Place()',
        "return Place()",
        "tests/jobs/test_redates.py",
    ),
}
BUGS: dict[str, Bug] = (
    LEDGER
    | THE_RULES
    | POSTING
    | PEOPLE
    | PIPE
    | STORE
    | RETURNED
    | HOLDS
    | REDEMPTIONS
    | BY_HAND
    | TRANSFERS
    | TIERS
    | STANDINGS
    | AHEAD_OF_TIME
    | DATES
    | EXPIRY
    | JOBS
)
# A few of each room, for a run that is to be short.
QUICK = (
    "points expire an instant late",
    "the oldest lot is spent first",
    "what expired is taken back twice",
    "points move before they came",
    "a balance may pass what can be counted",
    "a hold that ran out keeps its points",
    "what a capture leaves of a hold is lost",
    "the hours after midnight belong to the new day",
    "what is left of a split goes to the smallest remainders",
    "excluded tenders earn",
    "other content under the same receipt is a repeat",
    "a cancel keeps the cap used up",
    "an answer is not remembered",
    "a key may be used for something else",
    "an erased member keeps identifiers",
    "answers are given although the commit failed",
    "a process never hears of a new program",
    "a batch forgets the lots of the one before it",
    "a batch forgets the cap counters of the one before it",
    "a batch forgets the stock of the one before it",
    "a refused command leaves its counters",
    "lots that are pending are not read",
    "events have a gap",
    "more may go back than was bought",
    "what went back goes back again",
    "another return under the same number is a repeat",
    "a hold may be kept for ever",
    "what a purchase leaves of a hold stays held",
    "whoever proposed it may approve it",
    "a proposal that lapsed may be approved",
    "a frozen account is spent from",
    "a till's limit counts for each process",
    "a transfer forgets its fee",
    "points that are given get a new end",
    "what a giver gave is not counted",
    "a batch forgets the proposals of the one before it",
    "a reward has always one more in stock",
    "what is given back leaves the limit used up",
    "what is given back twice comes back twice",
    "a day's payments may pass the limit once",
)
