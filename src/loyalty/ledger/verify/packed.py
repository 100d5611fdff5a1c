"""The bytes of the chain as the database puts them together: docs/ledger.md, "The chain".

The writer packs in Python (ledger/chain.py); here the same bytes come from the stored rows by other means, in a fifth
of the time. A value that no books have becomes bytes that no books have, and never an error.
"""

from collections.abc import Mapping

from loyalty.ledger.chain import BUCKET_NUMBERS, KIND_NUMBERS


def _coded(column: str, numbers: Mapping[str, int]) -> str:
    cases = " ".join(f"WHEN '{word}' THEN '\\x{number:02x}'::bytea" for word, number in numbers.items())
    return f"CASE {column} {cases} ELSE '\\x00' END"


def _instant(column: str) -> str:
    return (
        f"CASE WHEN {column} BETWEEN '0001-01-01Z' AND '9999-12-31Z'"
        f" THEN int8send((extract(epoch FROM {column}) * 1000000)::bigint)"
        f" WHEN {column} IS NULL THEN '\\x8000000000000000' ELSE '\\x7fffffffffffffff' END"
    )


def _id(column: str) -> str:
    """Of an id that may be none."""
    return f"coalesce(uuid_send({column}), '\\x00000000000000000000000000000000')"


def _short(number: str) -> str:
    """Two bytes, and of what does not fit into them its last two."""
    return f"substr(int8send({number}), 7)"


def _word(text: str) -> str:
    return f"{_short(f'octet_length({text})')} || convert_to({text}, 'UTF8')"


_POSTING = " || ".join(
    (
        "uuid_send(lot_id)",
        "int8send(points)",
        _coded("source", BUCKET_NUMBERS),
        _coded("target", BUCKET_NUMBERS),
    )
)
_LOT = " || ".join(
    (
        "uuid_send(id)",
        "uuid_send(account_id)",
        _id("parent_lot_id"),
        "uuid_send(decision_id)",
        "int8send(points)",
        _instant("vintage_at"),
        "substr(int8send(policy_number + CASE WHEN slides IS NULL THEN 0 ELSE 2147483648 END), 5)",
        _instant("issued_activates_at"),
        _instant("issued_expires_at"),
        f"CASE WHEN slides IS NULL THEN '' ELSE {_word('slides')} END",
    )
)
_REDATE = " || ".join(
    (
        "uuid_send((r.one ->> 'lot_id')::uuid)",
        *(
            _instant(f"(r.one ->> '{name}')::timestamptz")
            for name in ("old_activates_at", "old_expires_at", "new_activates_at", "new_expires_at")
        ),
    )
)
_ENTRY = " || ".join(
    (
        "uuid_send(e.id)",
        "uuid_send(e.account_id)",
        "int8send(e.seq)",
        _coded("e.kind", KIND_NUMBERS),
        _instant("e.occurred_at"),
        _id("e.corrects_entry_id"),
        *(f"int8send(e.{figure})" for figure in ("pending", "available", "held", "debt")),
        _short("CASE json_typeof(e.redates) WHEN 'array' THEN json_array_length(e.redates) ELSE 0 END"),
        _short("coalesce(l.number, 0)"),
        _short("coalesce(p.number, 0)"),
        f"CASE WHEN e.cause IS NULL THEN '\\xffff' ELSE {_word('e.cause')} END",
        f"CASE json_typeof(e.redates) WHEN 'array' THEN coalesce((SELECT string_agg({_REDATE}, '' ORDER BY r.place)"
        " FROM json_array_elements(e.redates) WITH ORDINALITY r(one, place)), '') ELSE '' END",
        "coalesce(l.packed, '')",
        "coalesce(p.packed, '')",
    )
)
_BEFORE_DETAIL = " || ".join(
    (
        "uuid_send(d.id)",
        _id("d.member_id"),
        _id("d.activity_id"),
        "uuid_send(d.actor_id)",
        _instant("d.occurred_at"),
        _short("d.evaluator"),
    )
)
_BEHIND_ANSWER = " || ".join(
    (_short("coalesce(e.number, 0)"), _word("d.kind || '/' || d.actor_kind"), "coalesce(e.packed, '')")
)

# The decisions of a range of ids with all that is hashed with them, but for the digests of detail and answer: not every
# server hashes as quickly as Python does. Besides: how many entries, lots and postings that
# were; whether postings stand at places of their own, from 0 on; the one instant at which the entries were recorded,
# none if there were several; points put into `transferred` less what was taken out.
DECISIONS = f"""
WITH p AS (
    SELECT entry_id, count(*)::int AS number, string_agg({_POSTING}, '' ORDER BY position) AS packed,
           min(position) = 0 AND max(position) = count(*) - 1 AND count(DISTINCT position) = count(*) AS placed,
           sum(CASE 'transferred' WHEN target THEN points WHEN source THEN -points END) AS given
    FROM postings WHERE program_id = $1 AND cell = $2 AND entry_id > $3 AND entry_id <= $4 GROUP BY entry_id
), l AS (
    SELECT issuing_entry_id AS entry_id, count(*)::int AS number, string_agg({_LOT}, '' ORDER BY id) AS packed
    FROM lots WHERE program_id = $1 AND cell = $2 AND id > $3 AND id <= $4 GROUP BY issuing_entry_id
), e AS (
    SELECT e.decision_id, count(*)::int AS number, string_agg({_ENTRY}, '' ORDER BY e.id) AS packed,
           coalesce(sum(l.number), 0) AS lots, coalesce(sum(p.number), 0) AS postings,
           bool_and(p.placed) IS NOT FALSE AS placed, sum(p.given)::bigint AS given,
           CASE WHEN min(e.recorded_at) = max(e.recorded_at) THEN {_instant("min(e.recorded_at)")} END AS recorded_at
    FROM entries e LEFT JOIN l ON l.entry_id = e.id LEFT JOIN p ON p.entry_id = e.id
    WHERE e.program_id = $1 AND e.cell = $2 AND e.id > $3 AND e.id <= $4 GROUP BY e.decision_id
)
SELECT d.id, d.block_number, d.kind, d.member_id, d.activity_id, d.answer_status,
       CASE d.kind WHEN 'import_member' THEN d.occurred_at END,
       convert_to(d.detail, 'UTF8'), convert_to(d.answer, 'UTF8'), {_BEFORE_DETAIL}, {_BEHIND_ANSWER},
       e.number, e.lots, e.postings, e.placed, e.recorded_at, e.given
FROM decisions d LEFT JOIN e ON e.decision_id = d.id
WHERE d.program_id = $1 AND d.cell = $2 AND d.id > $3 AND d.id <= $4 ORDER BY d.id
"""
