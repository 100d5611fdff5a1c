"""The invariants of the books, each as one query that gives the rows that break it; none means it holds.

Read as superuser over whole tables of small test databases; `loyalty verify` has its own way to the same
questions. Written from the schema and the laws in docs/ledger.md, not from the code that writes the rows.
"""

from typing import Any, NamedTuple

import asyncpg


class Check(NamedTuple):
    name: str  # as a sentence
    broken: str


# Postings with the sign they have for each bucket, dated by their entry.
MOVED = """
    moved AS (
        SELECT p.program_id, p.cell, e.account_id, p.lot_id, e.id AS entry_id, e.seq, e.kind, e.occurred_at,
               side.bucket, side.sign * p.points AS points
        FROM postings p JOIN entries e ON (e.program_id, e.cell, e.id) = (p.program_id, p.cell, p.entry_id)
        CROSS JOIN LATERAL (VALUES (p.source, -1), (p.target, 1)) AS side (bucket, sign)
    )
"""
# The end that a lot had at an entry: a later one may have given it another date. Kept, since each posting asks for it.
REDATED = """
    redated AS MATERIALIZED (
        SELECT r.lot_id, e.seq, r.old_expires_at FROM entries e,
            json_to_recordset(e.redates) AS r (lot_id uuid, old_expires_at timestamptz)
    )
"""


def _end(seq: str) -> str:
    return f"""coalesce((SELECT coalesce(r.old_expires_at, 'infinity') FROM redated r
        WHERE r.lot_id = l.id AND r.seq > {seq} ORDER BY r.seq LIMIT 1), l.expires_at, 'infinity')"""


BUCKETS = (
    "issued",
    "pending",
    "available",
    "held",
    "redeemed",
    "expired",
    "revoked",
    "transferred",
    "deficit",
)


def _summed(bucket: str) -> str:
    return f"coalesce(sum(m.points) FILTER (WHERE m.bucket = '{bucket}'), 0) AS {bucket}"


BALANCES = (
    Check(
        "each bucket of a lot is the sum of its postings",
        f"""
        WITH {MOVED}, summed AS (
            SELECT l.program_id, l.cell, l.id, {", ".join(_summed(b) for b in BUCKETS)}
            FROM lots l LEFT JOIN moved m ON (m.program_id, m.cell, m.lot_id) = (l.program_id, l.cell, l.id)
            GROUP BY l.program_id, l.cell, l.id
        )
        SELECT l.id FROM lots l JOIN summed s USING (program_id, cell, id)
        WHERE ({", ".join("l." + b for b in BUCKETS)}) IS DISTINCT FROM ({", ".join("s." + b for b in BUCKETS)})
        """,
    ),
    Check(
        "the balance of an account is the sum of its lots",
        """
        SELECT a.id FROM accounts a LEFT JOIN lots l
            ON (l.program_id, l.cell, l.account_id) = (a.program_id, a.cell, a.id)
        GROUP BY a.program_id, a.cell, a.id, a.pending, a.available, a.held, a.debt
        HAVING (a.pending, a.available, a.held, a.debt) IS DISTINCT FROM (coalesce(sum(l.pending), 0),
            coalesce(sum(l.available), 0), coalesce(sum(l.held), 0), -coalesce(sum(l.deficit), 0))
        """,
    ),
    Check(
        "every entry left the balance that all postings so far give",
        f"""
        WITH {MOVED}, change AS (
            SELECT e.program_id, e.cell, e.account_id, e.id, e.seq, {", ".join(_summed(b) for b in BUCKETS)}
            FROM entries e LEFT JOIN moved m ON m.entry_id = e.id
            GROUP BY e.program_id, e.cell, e.account_id, e.id, e.seq
        ), running AS (
            SELECT id, {", ".join(f"sum({b}) OVER w AS {b}" for b in BUCKETS)} FROM change
            WINDOW w AS (PARTITION BY program_id, cell, account_id ORDER BY seq)
        )
        SELECT e.id FROM entries e JOIN running r USING (id)
        WHERE (e.pending, e.available, e.held, e.debt) IS DISTINCT FROM
              (r.pending, r.available, r.held, -r.deficit)
        """,
    ),
    Check(
        "entries of an account are numbered without gap, in the order of their ids and up to its last",
        """
        WITH numbered AS (
            SELECT e.*, row_number() OVER (PARTITION BY program_id, cell, account_id ORDER BY id) AS place
            FROM entries e
        )
        SELECT a.id FROM accounts a LEFT JOIN numbered n
            ON (n.program_id, n.cell, n.account_id) = (a.program_id, a.cell, a.id)
        GROUP BY a.program_id, a.cell, a.id, a.seq, a.first_entry_id, a.last_entry_id
        HAVING count(n.id) <> a.seq OR bool_or(n.seq <> n.place)
            OR (array_agg(n.id ORDER BY n.id))[1] IS DISTINCT FROM a.first_entry_id
            OR (array_agg(n.id ORDER BY n.id DESC))[1] IS DISTINCT FROM a.last_entry_id
        """,
    ),
    Check(
        "no lot gives more than it holds, nor holds more than was issued",
        """
        SELECT id FROM lots WHERE least(pending, available, held, redeemed, expired, revoked, 0) < 0
            OR pending + available + held + redeemed + expired > points OR revoked + deficit < 0
            OR issued + pending + available + held + redeemed + expired + revoked + transferred + deficit <> 0
            OR is_open <> (pending + available + held > 0)
        """,
    ),
    Check(
        "no bucket of a member was below zero at any past instant",
        f"""
        WITH {MOVED}, past AS (
            SELECT account_id, lot_id, bucket, occurred_at, sum(sum(points)) OVER (
                PARTITION BY program_id, cell, account_id, lot_id, bucket ORDER BY occurred_at) AS held_then
            FROM moved WHERE bucket IN ('pending', 'available', 'held')
            GROUP BY program_id, cell, account_id, lot_id, bucket, occurred_at
        )
        SELECT lot_id FROM past WHERE held_then < 0
        """,
    ),
    Check(
        "no point was spent before it was active or, unless it slides, after it had expired",
        f"""
        WITH {REDATED} SELECT p.entry_id FROM postings p
        JOIN entries e ON e.id = p.entry_id JOIN lots l ON l.id = p.lot_id
        WHERE p.source = 'available' AND p.target IN ('redeemed', 'held', 'transferred')
          AND (e.occurred_at < l.issued_activates_at OR l.slides IS NULL AND e.occurred_at >= {_end("e.seq")})
        """,
    ),
    Check(
        "points expire once, at the instant their date says or when they came if that was later",
        f"""
        WITH {REDATED} SELECT p.entry_id FROM postings p
        JOIN entries e ON e.id = p.entry_id JOIN lots l ON l.id = p.lot_id
        WHERE p.target = 'expired' AND p.source = 'available' AND e.cause IS DISTINCT FROM 'member_erased'
          AND e.occurred_at < {_end("e.seq")}
        """,
    ),
    Check(
        "points of the earliest end are spent first, among those that do not slide",
        f"""
        WITH {MOVED}, {REDATED}, spent AS (
            SELECT e.program_id, e.account_id, e.id AS entry_id, e.seq, e.occurred_at,
                   max({_end("e.seq")}) AS latest
            FROM postings p JOIN entries e ON e.id = p.entry_id
            JOIN lots l ON l.id = p.lot_id AND l.slides IS NULL
            WHERE p.source = 'available' AND p.target IN ('redeemed', 'held') GROUP BY 1, 2, 3, 4, 5
        )
        SELECT s.entry_id FROM spent s
        JOIN lots l ON l.account_id = s.account_id AND l.slides IS NULL AND {_end("s.seq")} < s.latest
        JOIN moved m ON m.lot_id = l.id AND m.bucket = 'available' AND m.seq <= s.seq
        GROUP BY s.entry_id, l.id HAVING sum(m.points) > 0
        """,
    ),
    Check(
        "an account knows the next instant at which something falls due",
        """
        SELECT a.id FROM accounts a LEFT JOIN lots l
            ON (l.program_id, l.cell, l.account_id) = (a.program_id, a.cell, a.id) AND l.is_open
        GROUP BY a.program_id, a.cell, a.id, a.next_due_at
        HAVING a.next_due_at IS DISTINCT FROM least(
            min(greatest(l.activates_at, l.arrived_at)) FILTER (WHERE l.pending > 0),
            min(greatest(l.expires_at, l.arrived_at, CASE
                    -- What has ended once, or was given another date, slides no more.
                    WHEN l.slides IS NOT NULL AND l.expires_at = l.issued_expires_at AND NOT EXISTS (
                        SELECT FROM postings p WHERE p.lot_id = l.id AND p.target = 'expired')
                    THEN a.idles_at END))
                FILTER (WHERE l.available > 0 AND l.expires_at IS NOT NULL),
            (SELECT min(h.lapses_at) FROM holds h WHERE h.account_id = a.id AND h.state = 'open'))
        """,
    ),
    Check(
        "a hold still has what its entries set aside, less what they took and gave back",
        """
        WITH entered AS (
            SELECT h.id, p.lot_id, sum(CASE WHEN p.target = 'held' THEN p.points ELSE -p.points END) AS points
            FROM holds h JOIN entries e ON h.id IN (e.id, e.corrects_entry_id) JOIN postings p ON p.entry_id = e.id
            WHERE 'held' IN (p.source, p.target) GROUP BY 1, 2
        ), said AS (
            SELECT h.id, (x->>0)::uuid AS lot_id, (x->>1)::bigint AS points FROM holds h, json_array_elements(h.parts) x
        )
        SELECT id FROM entered FULL JOIN said USING (id, lot_id)
        WHERE coalesce(entered.points, 0) <> coalesce(said.points, 0)
        """,
    ),
    Check(
        "what is held of an account is what its open holds have",
        """
        SELECT a.id FROM accounts a WHERE a.held <> coalesce((
            SELECT sum((x->>1)::bigint) FROM holds h, json_array_elements(h.parts) x
            WHERE h.account_id = a.id AND h.state = 'open'), 0)
        """,
    ),
    Check(
        "a hold ended once, as its last entry says, and never after its deadline",
        """
        WITH last AS (
            SELECT h.id, (array_agg(e.kind ORDER BY e.seq DESC))[1] AS kind, max(e.occurred_at) AS at
            FROM holds h JOIN entries e ON e.corrects_entry_id = h.id AND e.kind IN ('capture', 'release', 'lapse')
            GROUP BY h.id
        )
        SELECT h.id FROM holds h LEFT JOIN last l USING (id)
        WHERE (h.state = 'open') <> (h.ended_at IS NULL) OR h.ended_at > h.lapses_at
           OR h.state <> 'open' AND (h.ended_at <> l.at OR (h.state, l.kind) NOT IN (('captured', 'capture'),
              ('captured', 'release'), ('released', 'release'), ('lapsed', 'lapse')))
           OR h.state = 'lapsed' AND h.ended_at <> h.lapses_at
           OR h.captured <> coalesce((SELECT sum(p.points) FROM entries e JOIN postings p ON p.entry_id = e.id
              WHERE e.corrects_entry_id = h.id AND p.target = 'redeemed'), 0)
           OR h.points <> (SELECT sum(p.points) FROM postings p WHERE p.entry_id = h.id)
        """,
    ),
    Check(
        "no point is held that no hold has",
        """
        SELECT e.id FROM entries e LEFT JOIN holds h ON h.id = e.id WHERE e.kind = 'hold' AND h.id IS NULL
        UNION ALL
        SELECT e.id FROM entries e LEFT JOIN holds h ON h.id = e.corrects_entry_id
        WHERE e.kind IN ('capture', 'release', 'lapse') AND h.id IS NULL
        """,
    ),
    Check(
        "no more is given back than was captured",
        """
        SELECT c.id FROM entries c
        JOIN postings t ON t.entry_id = c.id JOIN entries r ON r.corrects_entry_id = c.id AND r.kind = 'restore'
        JOIN postings b ON b.entry_id = r.id AND b.lot_id = t.lot_id
        GROUP BY c.id, t.lot_id, t.points HAVING sum(b.points) > t.points
        """,
    ),
    Check(
        "the last deadline that was set is in force",
        """
        SELECT id FROM holds WHERE held_at > lapses_at
            OR lapses_at <> (deadlines->(json_array_length(deadlines) - 1)->>'lapses_at')::timestamptz
            OR held_at <> (deadlines->0->>'set_at')::timestamptz
        """,
    ),
    Check(
        "nobody is in debt while points are available",
        "SELECT id FROM accounts WHERE debt > 0 AND available > 0",
    ),
)

BY_HAND = (
    Check(
        "what one account gives in a transfer, another one receives",
        f"""
        WITH {MOVED}
        SELECT e.decision_id FROM moved m JOIN entries e ON e.id = m.entry_id
        WHERE m.bucket = 'transferred' GROUP BY e.program_id, e.decision_id HAVING sum(m.points) <> 0
        """,
    ),
    Check(
        "points keep their dates and their age when they are given away",
        """
        SELECT c.id FROM lots c LEFT JOIN lots p ON (p.program_id, p.id) = (c.program_id, c.parent_lot_id)
        WHERE c.parent_lot_id IS NOT NULL AND (p.id IS NULL
            OR (c.vintage_at, c.policy_number) <> (p.vintage_at, p.policy_number) OR c.issued = c.points)
        """,
    ),
    Check(
        "a proposal moves points once it was approved, by somebody else and in time, and else never",
        """
        WITH moved AS (
            SELECT d.program_id, d.cell, d.id, d.kind, d.actor_id, d.actor_kind, count(e.id) AS entries
            FROM decisions d LEFT JOIN entries e
                ON (e.program_id, e.cell, e.decision_id) = (d.program_id, d.cell, d.id)
                AND e.kind IN ('adjust_credit', 'adjust_debit', 'reinstate')
            WHERE d.kind IN ('propose', 'approve', 'reject') GROUP BY 1, 2, 3, 4, 5, 6
        )
        SELECT p.id FROM proposals p
        LEFT JOIN moved made ON (made.program_id, made.cell, made.id) = (p.program_id, p.cell, p.proposed_in)
        LEFT JOIN moved done ON (done.program_id, done.cell, done.id) = (p.program_id, p.cell, p.decided_in)
        WHERE made.kind IS DISTINCT FROM 'propose' OR made.entries > 0
            OR CASE p.state WHEN 'proposed' THEN done.id IS NOT NULL
               WHEN 'approved' THEN (done.kind, done.entries, done.actor_kind) IS DISTINCT FROM ('approve', 1, 'staff')
               ELSE (done.kind, done.entries, done.actor_kind) IS DISTINCT FROM ('reject', 0, 'staff') END
            OR p.decided_by IS DISTINCT FROM done.actor_id OR p.decided_by = p.proposed_by
            OR p.decided_at >= p.lapses_at
        UNION ALL
        SELECT m.id FROM moved m WHERE NOT EXISTS (
            SELECT FROM proposals p WHERE (p.program_id, p.cell) = (m.program_id, m.cell)
                AND m.id = CASE m.kind WHEN 'propose' THEN p.proposed_in ELSE p.decided_in END)
        """,
    ),
    Check(
        "nothing was taken from an account while it was frozen",
        """
        WITH said AS (
            SELECT d.program_id, d.cell, d.id, d.member_id, d.kind,
                d.detail::json->'note'->>'points_currency' AS points_currency
            FROM decisions d WHERE d.kind IN ('freeze', 'unfreeze')
        )
        SELECT e.id FROM entries e
        JOIN accounts a ON (a.program_id, a.cell, a.id) = (e.program_id, e.cell, e.account_id)
        CROSS JOIN LATERAL (
            SELECT s.kind FROM said s WHERE (s.program_id, s.cell, s.member_id, s.points_currency)
                = (a.program_id, a.cell, a.owner_id, a.points_currency) AND s.id < e.id ORDER BY s.id DESC LIMIT 1
        ) newest
        WHERE newest.kind = 'freeze' AND e.kind IN ('adjust_debit', 'redeem', 'hold', 'transfer_out')
        UNION ALL
        SELECT f.decision_id FROM freezes f JOIN LATERAL (
            SELECT s.id, s.kind FROM said s WHERE (s.program_id, s.cell, s.member_id, s.points_currency)
                = (f.program_id, f.cell, f.member_id, f.points_currency) ORDER BY s.id DESC LIMIT 1
        ) newest ON true
        WHERE f.decision_id <> newest.id OR f.frozen <> (newest.kind = 'freeze')
        """,
    ),
    Check(
        "a limit has counted what decisions of its own lane say",
        """
        WITH used AS (
            SELECT d.program_id, d.cell, (u->>0)::uuid AS owner_id, u->>1 AS rule_id, u->>2 AS period,
                sum((u->>3)::bigint) AS points
            FROM decisions d, json_array_elements(d.detail::json->'used') u GROUP BY 1, 2, 3, 4, 5
        )
        SELECT rule_id FROM (SELECT * FROM counters WHERE rule_id LIKE '%:%') c
        FULL JOIN used u USING (program_id, cell, owner_id, rule_id, period)
        WHERE c.points IS DISTINCT FROM u.points
        """,
    ),
    Check(
        "what a lane has of another lane's decision stands there under the same id",
        """
        SELECT c.id FROM decisions c WHERE c.kind = 'counterpart' AND NOT EXISTS (
            SELECT FROM decisions d WHERE d.program_id = c.program_id AND d.id = c.id AND d.kind <> 'counterpart'
                AND d.cell = (c.detail::json->>'counterpart_of')::int)
        """,
    ),
)

REQUESTS = (
    Check(
        "a stored answer belongs to a decision that is there",
        """
        SELECT r.key FROM idempotency_records r LEFT JOIN decisions d
            ON (d.program_id, d.cell, d.id) = (r.program_id, r.decision_cell, r.decision_id)
        WHERE r.decision_id IS NOT NULL AND d.id IS NULL
        """,
    ),
    Check(
        "one receipt has one recorded purchase, and one purchase one receipt",
        """
        WITH bought AS (
            SELECT program_id, activity_id, count(*) AS times FROM decisions WHERE kind = 'purchase' GROUP BY 1, 2
        ), named AS (
            SELECT program_id, activity_id, count(*) AS times, bool_or(state = 'recorded') AS recorded
            FROM activity_keys WHERE kind = 'purchase' GROUP BY 1, 2
        )
        SELECT activity_id FROM bought b FULL JOIN named k USING (program_id, activity_id)
        WHERE b.times > 1 OR k.times IS DISTINCT FROM 1 OR (k.recorded AND b.times IS NULL)
        """,
    ),
    Check(
        "a receipt and its activity know each other",
        """
        SELECT k.external_id FROM activity_keys k LEFT JOIN activities a
            ON (a.program_id, a.cell, a.id) = (k.program_id, k.cell, k.activity_id)
        WHERE k.state = 'recorded' AND k.kind = 'purchase' AND a.id IS NULL
        """,
    ),
)

HISTORY = (
    Check(
        "blocks are numbered without gap and each names the hash before it",
        """
        WITH chained AS (
            SELECT b.*, row_number() OVER w AS place, lag(hash) OVER w AS before FROM blocks b
            WINDOW w AS (PARTITION BY program_id, cell ORDER BY number)
        )
        SELECT id FROM chained WHERE number <> place OR (before IS NOT NULL AND before <> previous_hash)
        """,
    ),
    Check(
        "recorded time never goes back in a lane",
        """
        WITH timed AS (
            SELECT b.*, lag(recorded_at) OVER (PARTITION BY program_id, cell ORDER BY number) AS before FROM blocks b
        )
        SELECT id FROM timed WHERE before > recorded_at
        """,
    ),
    Check(
        "every decision lies in a block and every entry in a decision",
        """
        SELECT d.id FROM decisions d LEFT JOIN blocks b
            ON (b.program_id, b.cell, b.number) = (d.program_id, d.cell, d.block_number) WHERE b.id IS NULL
        UNION ALL
        SELECT e.id FROM entries e LEFT JOIN decisions d
            ON (d.program_id, d.cell, d.id) = (e.program_id, e.cell, e.decision_id) WHERE d.id IS NULL
        UNION ALL
        SELECT p.entry_id FROM postings p LEFT JOIN entries e
            ON (e.program_id, e.cell, e.id) = (p.program_id, p.cell, p.entry_id) WHERE e.id IS NULL
        """,
    ),
    Check(
        "nothing occurs after it was recorded",
        "SELECT id FROM entries WHERE occurred_at > recorded_at + interval '15 minutes'",
    ),
    Check(
        "an award is the sum of its split on lines, and the earned lots are the sum of the awards",
        """
        WITH awarded AS (
            SELECT d.id, w->>'points_currency' AS currency, sum((w->>'points')::bigint) AS points,
                bool_or((w->>'points')::bigint
                    <> (SELECT coalesce(sum(s::bigint), 0) FROM json_array_elements_text(w->'split') s)) AS uneven
            FROM decisions d, json_array_elements(d.detail::json->'awards') w
            WHERE d.kind IN ('purchase', 'claim') GROUP BY 1, 2
        ), issued AS (
            SELECT l.decision_id AS id, a.points_currency AS currency, sum(l.points) AS points
            FROM lots l JOIN accounts a ON (a.program_id, a.cell, a.id) = (l.program_id, l.cell, l.account_id)
            JOIN entries e ON e.id = l.issuing_entry_id WHERE e.kind = 'earn' GROUP BY 1, 2
        )
        SELECT coalesce(a.id, i.id) FROM awarded a FULL JOIN issued i USING (id, currency)
        WHERE coalesce(a.uneven, false) OR coalesce(a.points, 0) <> coalesce(i.points, 0)
        """,
    ),
    Check(
        "of no line more went back than was bought",
        """
        WITH bought AS (
            SELECT a.program_id, a.id, n - 1 AS place, greatest((l->>'quantity_milli')::bigint, 1) AS units
            FROM activities a, json_array_elements(a.content->'lines') WITH ORDINALITY AS x (l, n)
            WHERE a.content->'lines' IS NOT NULL AND a.content->>'purchase_id' IS NULL
        ), went AS (
            SELECT r.program_id, r.purchase_id AS id, (l->>0)::bigint AS place, sum((l->>1)::bigint) AS units
            FROM returns r, json_array_elements(r.lines) l GROUP BY 1, 2, 3
        )
        SELECT w.id FROM went w LEFT JOIN bought b USING (program_id, id, place)
        WHERE w.units > b.units OR (b.units IS NULL AND EXISTS (
            SELECT FROM activities a WHERE a.id = w.id AND a.content IS NOT NULL))
        """,
    ),
    Check(
        "no award is taken back more than it gave, nor money given back more than was paid; all when all went back",
        """
        WITH went AS (
            SELECT program_id, cell, purchase_id AS id, sum(amount_minor) AS amount, bool_or(complete) AS complete,
                count(*) FILTER (WHERE complete) AS ends FROM returns GROUP BY 1, 2, 3
        ), taken AS (
            SELECT r.program_id, r.purchase_id AS id, n AS place, sum(t::bigint) AS points
            FROM returns r, json_array_elements_text(r.taken) WITH ORDINALITY AS x (t, n) GROUP BY 1, 2, 3
        ), gave AS (
            SELECT a.program_id, a.id, n AS place, (w->>'points')::bigint AS points
            FROM activities a JOIN decisions d ON (d.program_id, d.id) = (a.program_id, a.awarded_by),
                json_array_elements(d.detail::json->'awards') WITH ORDINALITY AS x (w, n)
        )
        SELECT w.id FROM went w JOIN activities a USING (program_id, cell, id)
        WHERE w.amount > a.amount_minor OR w.ends > 1 OR (w.complete AND w.amount <> a.amount_minor)
        UNION ALL
        SELECT w.id FROM went w JOIN gave g USING (program_id, id) LEFT JOIN taken t USING (program_id, id, place)
        WHERE coalesce(t.points, 0) > g.points OR (w.complete AND coalesce(t.points, 0) <> g.points)
        UNION ALL
        SELECT t.id FROM taken t LEFT JOIN gave g USING (program_id, id, place) WHERE g.points IS NULL
        """,
    ),
    Check(
        "a cap's counter is what awards of its rule gave in its period, less what returns and cancels took of them",
        """
        WITH gave AS (
            SELECT d.program_id, d.cell, d.id, d.member_id AS owner_id, c->>0 AS rule_id, c->>1 AS period, n,
                (w->>'points')::bigint AS points
            FROM decisions d, json_array_elements(d.detail::json->'counted') c,
                json_array_elements(d.detail::json->'awards') WITH ORDINALITY AS x (w, n)
            WHERE w->>'rule_id' = c->>0
        ), took AS (
            SELECT d.program_id, (d.detail::json->>'undoes')::uuid AS id, n, sum(t::bigint) AS points
            FROM decisions d, json_array_elements_text(d.detail::json->'back') WITH ORDINALITY AS x (t, n)
            GROUP BY 1, 2, 3
        ), counted AS (
            SELECT g.program_id, g.cell, owner_id, rule_id, period, sum(g.points - coalesce(t.points, 0)) AS points
            FROM gave g LEFT JOIN took t USING (program_id, id, n) GROUP BY 1, 2, 3, 4, 5
        )
        SELECT rule_id FROM (SELECT * FROM counters WHERE rule_id NOT LIKE '%:%') c
        FULL JOIN counted USING (program_id, cell, owner_id, rule_id, period)
        WHERE c.points IS DISTINCT FROM counted.points
        """,
    ),
)

REDEMPTIONS = (
    Check(
        "what a redemption says it took is what its decision's entry took, lot by lot",
        """
        WITH told AS (
            SELECT r.id, (p.value->>0)::uuid AS lot_id, (p.value->>1)::bigint AS points
            FROM redemptions r, json_array_elements(r.parts) p
        ), took AS (
            SELECT r.id, p.lot_id, p.points FROM redemptions r
            JOIN entries e ON (e.program_id, e.cell, e.decision_id, e.id)
                = (r.program_id, r.cell, r.decision_id, r.entry_id)
            JOIN postings p ON (p.program_id, p.cell, p.entry_id) = (e.program_id, e.cell, e.id)
            WHERE (e.kind, p.source, p.target)
                IN (('redeem', 'available', 'redeemed'), ('capture', 'held', 'redeemed'))
        )
        SELECT coalesce(told.id, took.id) FROM told FULL JOIN took USING (id, lot_id)
        WHERE told.points IS DISTINCT FROM took.points
        UNION ALL
        SELECT r.id FROM redemptions r WHERE r.points <> (SELECT sum(t.points) FROM told t WHERE t.id = r.id)
        UNION ALL
        SELECT e.id FROM entries e WHERE e.cause <> 'transfer_fee' AND e.kind IN ('redeem', 'capture')
            AND NOT EXISTS (SELECT FROM redemptions r WHERE r.entry_id = e.id)
        """,
    ),
    Check(
        "a reward that was set aside is redeemed as it was promised, and nothing else is taken of its hold",
        """
        SELECT e.id FROM entries e JOIN holds h ON h.id = e.corrects_entry_id AND h.reward IS NOT NULL
        WHERE e.kind = 'capture' AND NOT EXISTS (
            SELECT FROM redemptions r WHERE r.entry_id = e.id AND r.member_id = h.owner_id
               AND (r.reward, r.priced_by) = (h.reward, h.priced_by)
               AND r.points * h.quantity = h.points * r.quantity AND r.quantity <= h.quantity)
        """,
    ),
    Check(
        "of a stock is set aside what holds promise, until they end",
        """
        WITH promised AS (
            SELECT h.program_id, h.reward, h.id AS hold_id, h.quantity, coalesce(h.ended_at, h.lapses_at) AS ends_at
            FROM holds h JOIN configurations c ON c.program_id = h.program_id AND c.number = h.priced_by,
                json_array_elements(c.rewards) r
            WHERE r->>'id' = h.reward AND (r->>'stocked')::boolean
        )
        SELECT hold_id FROM promised p FULL JOIN reservations v USING (program_id, reward, hold_id)
        WHERE (p.quantity, p.ends_at) IS DISTINCT FROM (v.quantity, v.ends_at)
        """,
    ),
    Check(
        "no more of a stock is set aside than there is",
        """
        SELECT v.reward FROM reservations v LEFT JOIN stocks s USING (program_id, reward)
        WHERE v.ends_at > (
            SELECT b.recorded_at FROM blocks b WHERE b.program_id = v.program_id AND b.cell = 0
            ORDER BY b.number DESC LIMIT 1)
        GROUP BY v.program_id, v.reward, s.stock HAVING sum(v.quantity) > coalesce(s.stock, 0)
        """,
    ),
    Check(
        "a cancelled redemption gave all its points back once, and no other did",
        """
        WITH back AS (
            SELECT e.corrects_entry_id AS entry_id, sum(p.points) AS points FROM entries e
            JOIN postings p ON (p.program_id, p.cell, p.entry_id) = (e.program_id, e.cell, e.id)
            WHERE e.kind = 'restore' AND e.cause = 'redemption_cancelled' GROUP BY 1
        )
        SELECT r.id FROM redemptions r LEFT JOIN back b ON b.entry_id = r.entry_id
        WHERE coalesce(b.points, 0) <> CASE r.state WHEN 'cancelled' THEN r.points ELSE 0 END
        """,
    ),
    Check(
        "a redemption is in the state that its last decision gave it",
        """
        SELECT r.id FROM redemptions r LEFT JOIN LATERAL (
            SELECT d.id, d.kind FROM decisions d
            WHERE (d.program_id, d.cell, d.activity_id) = (r.program_id, r.cell, r.id)
            ORDER BY d.id DESC LIMIT 1) last ON true
        WHERE (last.id, CASE last.kind WHEN 'redeem' THEN 'issued' WHEN 'fulfil' THEN 'fulfilled'
            WHEN 'cancel_redemption' THEN 'cancelled' END) IS DISTINCT FROM (r.changed_by, r.state)
        """,
    ),
    Check(
        "a stock is what was brought less what was taken and is not cancelled",
        """
        WITH moved AS (
            SELECT d.program_id, s.value->>0 AS reward, (s.value->>1)::bigint AS change
            FROM decisions d, json_array_elements(d.detail::json->'stocked') s
        ), summed AS (
            SELECT program_id, reward, sum(change) AS stock FROM moved GROUP BY 1, 2
        )
        SELECT coalesce(s.reward, m.reward) FROM stocks s FULL JOIN summed m USING (program_id, reward)
        WHERE s.stock IS DISTINCT FROM m.stock
        """,
    ),
)

EVENTS = (
    Check(
        "positions of events are dense in a lane, and blocks say which are theirs",
        """
        WITH spans AS (
            SELECT id, first_position, lag(last_position, 1, 0::bigint) OVER w AS before FROM blocks
            WINDOW w AS (PARTITION BY program_id, cell ORDER BY number)
        ), placed AS (
            SELECT id, position, row_number() OVER w AS place FROM engagement_events
            WINDOW w AS (PARTITION BY program_id, cell ORDER BY position)
        )
        SELECT id FROM spans WHERE first_position <> before + 1
        UNION ALL
        SELECT id FROM placed WHERE position <> place
        UNION ALL
        SELECT e.id FROM engagement_events e
        JOIN decisions d ON (d.program_id, d.cell, d.id) = (e.program_id, e.cell, e.decision_id)
        JOIN blocks b ON (b.program_id, b.cell, b.number) = (d.program_id, d.cell, d.block_number)
        WHERE e.position NOT BETWEEN b.first_position AND b.last_position
        UNION ALL
        SELECT b.id FROM blocks b WHERE last_position > first_position - 1 AND NOT EXISTS (
            SELECT FROM engagement_events e WHERE (e.program_id, e.cell, e.position)
                = (b.program_id, b.cell, b.last_position))
        """,
    ),
    Check(
        "events say exactly what the ledger says",
        """
        WITH told AS (
            SELECT (x->>'account_id')::uuid AS id, sum((x->>'pending')::bigint) AS pending,
                sum((x->>'available')::bigint) AS available, sum((x->>'held')::bigint) AS held,
                sum((x->>'debt')::bigint) AS debt, count(*) AS entries
            FROM engagement_events e, json_array_elements(e.data->'entries') x GROUP BY 1
        )
        SELECT a.id FROM accounts a LEFT JOIN told t USING (id)
        WHERE (a.pending, a.available, a.held, a.debt, a.seq) IS DISTINCT FROM (coalesce(t.pending, 0),
            coalesce(t.available, 0), coalesce(t.held, 0), coalesce(t.debt, 0), coalesce(t.entries, 0))
        """,
    ),
    Check(
        "every event has its cause",
        """
        SELECT e.id FROM engagement_events e LEFT JOIN decisions d
            ON (d.program_id, d.cell, d.id) = (e.program_id, e.cell, e.decision_id) WHERE d.id IS NULL
        """,
    ),
)

CLOSURE = (
    Check(
        "no row of one program points to a row of another, and none leaves its cell",
        """
        SELECT l.id FROM lots l LEFT JOIN accounts a
            ON (a.program_id, a.cell, a.id) = (l.program_id, l.cell, l.account_id) WHERE a.id IS NULL
        UNION ALL
        SELECT e.id FROM entries e LEFT JOIN accounts a
            ON (a.program_id, a.cell, a.id) = (e.program_id, e.cell, e.account_id) WHERE a.id IS NULL
        UNION ALL
        SELECT h.id FROM holds h LEFT JOIN accounts a
            ON (a.program_id, a.cell, a.id, a.owner_id, a.points_currency)
             = (h.program_id, h.cell, h.account_id, h.owner_id, h.points_currency) WHERE a.id IS NULL
        UNION ALL
        SELECT a.id FROM accounts a LEFT JOIN members m
            ON (m.program_id, m.cell, m.id) = (a.program_id, a.cell, a.owner_id) WHERE m.id IS NULL
        UNION ALL
        SELECT i.member_id FROM identifiers i LEFT JOIN members m
            ON (m.program_id, m.cell, m.id) = (i.program_id, i.cell, i.member_id) WHERE m.id IS NULL
        UNION ALL
        SELECT p.member_id FROM member_profiles p LEFT JOIN members m
            ON (m.program_id, m.cell, m.id) = (p.program_id, p.cell, p.member_id) WHERE m.id IS NULL
        UNION ALL
        SELECT p.member_id FROM member_pins p LEFT JOIN members m
            ON (m.program_id, m.cell, m.id) = (p.program_id, p.cell, p.member_id) WHERE m.id IS NULL
        UNION ALL
        SELECT t.id FROM activities t LEFT JOIN decisions d
            ON (d.program_id, d.cell, d.id) = (t.program_id, t.cell, t.decision_id) WHERE d.id IS NULL
        UNION ALL
        SELECT r.id FROM returns r LEFT JOIN activities a
            ON (a.program_id, a.cell, a.id) = (r.program_id, r.cell, r.purchase_id) WHERE a.id IS NULL
        UNION ALL
        SELECT r.id FROM redemptions r LEFT JOIN members m
            ON (m.program_id, m.cell, m.id) = (r.program_id, r.cell, r.member_id) WHERE m.id IS NULL
        UNION ALL
        SELECT b.id FROM blocks b LEFT JOIN configurations c
            ON (c.program_id, c.number) = (b.program_id, b.config_number) WHERE c.program_id IS NULL
        """,
    ),
    Check(
        "the erased have neither profile nor PIN nor identifiers nor points",
        """
        SELECT m.id FROM members m WHERE m.status = 'erased' AND (
            EXISTS (SELECT FROM member_profiles p WHERE (p.program_id, p.member_id) = (m.program_id, m.id))
            OR EXISTS (SELECT FROM member_pins p WHERE (p.program_id, p.member_id) = (m.program_id, m.id))
            OR EXISTS (SELECT FROM identifiers i WHERE (i.program_id, i.member_id) = (m.program_id, m.id))
            OR EXISTS (SELECT FROM accounts a WHERE (a.program_id, a.owner_id) = (m.program_id, m.id)
                AND a.pending + a.available + a.held + a.debt > 0))
        """,
    ),
)

ALL = (*BALANCES, *BY_HAND, *REQUESTS, *HISTORY, *REDEMPTIONS, *EVENTS, *CLOSURE)


async def broken(link: "asyncpg.Connection[Any]") -> dict[str, list[str]]:
    """The sentences that do not hold, each with the first rows that break it."""
    found: dict[str, list[str]] = {}
    async with link.transaction(isolation="repeatable_read", readonly=True):
        for check in ALL:
            if lines := await link.fetch(f"SELECT * FROM ({check.broken}) b LIMIT 3"):
                found[check.name] = [str(line[0]) for line in lines]
    return found
