"""The hash of a block: format 1, laid out byte by byte in docs/ledger.md, "The chain".

Whoever recomputes it from the stored rows proves that none was changed, added, removed or swapped: verify does so by
other means (verify/packed.py).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from struct import Struct
from uuid import UUID

from loyalty.ledger.types import Bucket, Decision, Entry, EntryKind, Lot

FORMAT = 1
GENESIS = bytes(32)  # the hash "before" a lane's first block

# Numbers in the hash are for ever: new words get new numbers.
BUCKET_NUMBERS: dict[str, int] = {
    Bucket.ISSUED: 1,
    Bucket.PENDING: 2,
    Bucket.AVAILABLE: 3,
    Bucket.HELD: 4,
    Bucket.REDEEMED: 5,
    Bucket.EXPIRED: 6,
    Bucket.REVOKED: 7,
    Bucket.TRANSFERRED: 8,
    Bucket.DEFICIT: 9,
}
KIND_NUMBERS: dict[str, int] = {
    EntryKind.EARN: 1,
    EntryKind.ADJUST_CREDIT: 2,
    EntryKind.IMPORT: 3,
    EntryKind.MATURE: 4,
    EntryKind.AUTO_CANCEL: 5,
    EntryKind.EXPIRE: 6,
    EntryKind.HOLD: 7,
    EntryKind.CAPTURE: 8,
    EntryKind.RELEASE: 9,
    EntryKind.LAPSE: 10,
    EntryKind.REDEEM: 11,
    EntryKind.ADJUST_DEBIT: 12,
    EntryKind.RESTORE: 13,
    EntryKind.REVOKE: 14,
    EntryKind.REPAY: 15,
    EntryKind.REINSTATE: 16,
    EntryKind.REDATE: 17,
    EntryKind.TRANSFER_OUT: 18,
    EntryKind.TRANSFER_IN: 19,
}

_NO_INSTANT = -(2**63)
_NO_DAY = -(2**31)
_NO_ID = bytes(16)
_SLIDES = 2**31  # configurations are never so many
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_BLOCK = Struct(">H16sHQqIi32sI").pack
_DECISION = Struct(">16s16s16s16sqH32sH32sHH").pack
_ENTRY = Struct(">16s16sQBq16sQQQQHHH").pack
_REDATE = Struct(">16sqqqq").pack
_LOT = Struct(">16s16s16s16sQqIqq").pack
_POSTING = Struct(">16sQBB").pack
_LENGTH = Struct(">H").pack


def micros(at: datetime | None) -> int:
    """Microseconds since 1970 UTC; None becomes the lowest 64-bit number."""
    if at is None:
        return _NO_INSTANT
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def pack_block(
    format: int,
    program_id: UUID,
    cell: int,
    number: int,
    recorded_at: int,
    config_number: int,
    closes_on: str | None,
    previous_hash: bytes,
    decisions: int,
) -> bytes:
    """The block's own bytes; the bytes of its `decisions` decisions follow, sorted by id."""
    day = _NO_DAY if closes_on is None else date.fromisoformat(closes_on).toordinal() - _EPOCH_DAY
    return _BLOCK(
        format, program_id.bytes, cell, number, recorded_at, config_number, day, previous_hash, decisions
    )


def pack_decision(
    id: UUID,
    kind: str,
    member_id: UUID | None,
    activity_id: UUID | None,
    actor_kind: str,
    actor_id: UUID,
    occurred_at: int,
    evaluator: int,
    detail_digest: bytes,
    answer_status: int,
    answer_digest: bytes,
    entries: int,
) -> bytes:
    """One decision's bytes; the bytes of its `entries` entries follow, sorted by id."""
    word = f"{kind}/{actor_kind}".encode()
    return (
        _DECISION(
            id.bytes,
            _NO_ID if member_id is None else member_id.bytes,
            _NO_ID if activity_id is None else activity_id.bytes,
            actor_id.bytes,
            occurred_at,
            evaluator,
            detail_digest,
            answer_status,
            answer_digest,
            entries,
            len(word),
        )
        + word
    )


def pack_entry(
    id: UUID,
    account_id: UUID,
    seq: int,
    kind: str,
    occurred_at: int,
    corrects_entry_id: UUID | None,
    pending: int,
    available: int,
    held: int,
    debt: int,
    redates: int,
    lots: int,
    postings: int,
    cause: str | None,
) -> bytes:
    """One entry's bytes; its redates, issued lots (by id) and postings (in their order) follow."""
    packed = _ENTRY(
        id.bytes,
        account_id.bytes,
        seq,
        KIND_NUMBERS[kind],
        occurred_at,
        _NO_ID if corrects_entry_id is None else corrects_entry_id.bytes,
        pending,
        available,
        held,
        debt,
        redates,
        lots,
        postings,
    )
    if cause is None:
        return packed + b"\xff\xff"
    word = cause.encode()
    return packed + _LENGTH(len(word)) + word


def pack_redate(
    lot_id: UUID, old_activates_at: int, old_expires_at: int, new_activates_at: int, new_expires_at: int
) -> bytes:
    return _REDATE(lot_id.bytes, old_activates_at, old_expires_at, new_activates_at, new_expires_at)


def pack_lot(
    id: UUID,
    account_id: UUID,
    parent_lot_id: UUID | None,
    decision_id: UUID,
    points: int,
    vintage_at: int,
    policy_number: int,
    issued_activates_at: int,
    issued_expires_at: int,
    slides: str | None,
) -> bytes:
    """What never changes of a lot; its issuing entry is the one it follows. A lot that slides says so by a bit."""
    packed = _LOT(
        id.bytes,
        account_id.bytes,
        _NO_ID if parent_lot_id is None else parent_lot_id.bytes,
        decision_id.bytes,
        points,
        vintage_at,
        policy_number if slides is None else policy_number | _SLIDES,
        issued_activates_at,
        issued_expires_at,
    )
    if slides is None:
        return packed
    word = slides.encode()
    return packed + _LENGTH(len(word)) + word


def pack_posting(lot_id: UUID, points: int, source: str, target: str) -> bytes:
    return _POSTING(lot_id.bytes, points, BUCKET_NUMBERS[source], BUCKET_NUMBERS[target])


def block_hash(
    format: int,
    program_id: UUID,
    cell: int,
    number: int,
    recorded_at: datetime,
    config_number: int,
    closes_on: str | None,
    previous_hash: bytes,
    decisions: Sequence[Decision],
) -> bytes:
    """The SHA-256 of one block with all its decisions, entries, redates, issued lots and postings."""
    parts = [
        pack_block(
            format,
            program_id,
            cell,
            number,
            micros(recorded_at),
            config_number,
            closes_on,
            previous_hash,
            len(decisions),
        )
    ]
    for decision in sorted(decisions, key=_bytes) if len(decisions) > 1 else decisions:
        entries = decision.entries
        occurred_at = decision.occurred_at
        instant = micros(occurred_at)
        parts.append(
            pack_decision(
                decision.id,
                decision.kind,
                decision.member_id,
                decision.activity_id,
                decision.actor_kind,
                decision.actor_id,
                instant,
                decision.evaluator,
                sha256(decision.detail.encode()).digest(),
                decision.answer_status,
                sha256(decision.answer.encode()).digest(),
                len(entries),
            )
        )
        for entry in sorted(entries, key=_bytes) if len(entries) > 1 else entries:
            at = entry.occurred_at
            parts.append(
                pack_entry(
                    entry.id,
                    entry.account_id,
                    entry.seq,
                    entry.kind,
                    instant if at is occurred_at else micros(at),
                    entry.corrects_entry_id,
                    entry.pending,
                    entry.available,
                    entry.held,
                    entry.debt,
                    len(entry.redates),
                    len(entry.lots),
                    len(entry.postings),
                    entry.cause,
                )
            )
            for redate in entry.redates:
                parts.append(
                    pack_redate(
                        redate.lot_id,
                        micros(redate.old_activates_at),
                        micros(redate.old_expires_at),
                        micros(redate.new_activates_at),
                        micros(redate.new_expires_at),
                    )
                )
            lots = entry.lots
            for lot in sorted(lots, key=_bytes) if len(lots) > 1 else lots:
                vintage_at = lot.vintage_at
                parts.append(
                    pack_lot(
                        lot.id,
                        lot.account_id,
                        lot.parent_lot_id,
                        lot.decision_id,
                        lot.points,
                        instant if vintage_at is occurred_at else micros(vintage_at),
                        lot.policy_number,
                        micros(lot.issued_activates_at),
                        micros(lot.issued_expires_at),
                        lot.slides,
                    )
                )
            for posting in entry.postings:
                parts.append(pack_posting(posting.lot_id, posting.points, posting.source, posting.target))
    return sha256(b"".join(parts)).digest()


def _bytes(row: Decision | Entry | Lot) -> bytes:
    return row.id.bytes
