"""Tier sets as a part of the configuration; what members did day by day, where they stand, and each step they made.

The days of what was bought before are counted here once, from purchases, their awards and their returns.
Filling the days takes about ten seconds for a million purchases. Locks: configurations, also for readers, until that
is done (a new column without a default), so nobody is served meanwhile; the tables are new.
"""

from alembic import op

revision = "0018"
down_revision = "0017"

BY_PROGRAM = ("member_days", "standings", "tier_moves")

STATEMENTS = (
    "ALTER TABLE configurations ADD COLUMN tier_sets json",
    """
    CREATE TYPE configurations_row_3 AS (
        program_id uuid, number integer, effective_at timestamptz, published_at timestamptz, settings json,
        ruleset json, rewards json, tier_sets json
    )
    """,
    """
    CREATE TABLE member_days (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        member_id uuid NOT NULL,
        day date NOT NULL,
        spend_minor bigint NOT NULL,
        visits integer NOT NULL,
        points jsonb NOT NULL,
        PRIMARY KEY (program_id, cell, member_id, day)
    ) WITH (fillfactor = 90)
    """,
    """
    CREATE TYPE member_days_row AS (
        program_id uuid, cell smallint, member_id uuid, day date, spend_minor bigint, visits integer, points jsonb
    )
    """,
    # By points currency; what one of the two does not name it counts as nothing.
    """
    CREATE FUNCTION points_and(jsonb, jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT coalesce(jsonb_object_agg(code, points), '{}') FROM (
            SELECT key AS code, sum(value::bigint) AS points
            FROM (SELECT * FROM jsonb_each_text($1) UNION ALL SELECT * FROM jsonb_each_text($2)) b GROUP BY key) s
    $$
    """,
    """
    CREATE TABLE standings (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        member_id uuid NOT NULL,
        tier_set text COLLATE "C" NOT NULL,
        joined_on date NOT NULL,
        earned text COLLATE "C",
        since timestamptz,
        lifetime text COLLATE "C",
        manual json,
        falls_at timestamptz,
        next_review_at timestamptz,
        judged_by integer NOT NULL,
        PRIMARY KEY (program_id, cell, member_id, tier_set)
    ) WITH (fillfactor = 80)
    """,
    """
    CREATE TYPE standings_row AS (
        program_id uuid, cell smallint, member_id uuid, tier_set text, joined_on date, earned text, since timestamptz,
        lifetime text, manual json, falls_at timestamptz, next_review_at timestamptz, judged_by integer
    )
    """,
    "CREATE INDEX standings_due ON standings (program_id, cell, next_review_at) WHERE next_review_at IS NOT NULL",
    """
    CREATE TABLE tier_moves (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        member_id uuid NOT NULL,
        tier_set text COLLATE "C" NOT NULL,
        decision_id uuid NOT NULL,
        position smallint NOT NULL,
        at timestamptz NOT NULL,
        before text COLLATE "C",
        after text COLLATE "C",
        why text COLLATE "C" NOT NULL,
        metric bigint NOT NULL,
        PRIMARY KEY (program_id, cell, member_id, tier_set, decision_id, position),
        CHECK (before IS DISTINCT FROM after)
    )
    """,
    """
    CREATE TYPE tier_moves_row AS (
        program_id uuid, cell smallint, member_id uuid, tier_set text, decision_id uuid, position smallint,
        at timestamptz, before text, after text, why text, metric bigint
    )
    """,
    "GRANT SELECT ON member_days, standings, tier_moves TO loyalty_app",
    "GRANT INSERT, UPDATE (spend_minor, visits, points) ON member_days TO loyalty_app",
    "GRANT INSERT, UPDATE (joined_on, earned, since, lifetime, manual, falls_at, next_review_at, judged_by) "
    "ON standings TO loyalty_app",
    "GRANT INSERT ON tier_moves TO loyalty_app",
    "CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON tier_moves "
    "FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON tier_moves "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    # What is left of each purchase, by the day on which it was made.
    """
    INSERT INTO member_days
    WITH bought AS (
        SELECT a.program_id, a.cell AS lane, a.id, d.cell, a.member_id, a.amount_minor,
               d.detail::json -> 'awards' AS awards,
               (a.occurred_at AT TIME ZONE (
                   SELECT c.settings ->> 'zone' FROM configurations c WHERE c.program_id = a.program_id
                   ORDER BY c.number DESC LIMIT 1))::date AS day
        FROM activity_keys k
        JOIN activities a ON a.program_id = k.program_id AND a.id = k.activity_id
        JOIN decisions d ON d.program_id = k.program_id AND d.id = a.awarded_by AND d.kind <> 'counterpart'
        WHERE k.kind = 'purchase' AND k.state = 'recorded' AND a.member_id IS NOT NULL
    ), gone AS (
        SELECT b.program_id, b.lane, b.id, sum(r.amount_minor) AS amount_minor, bool_or(r.complete) AS complete
        FROM bought b JOIN returns r ON r.program_id = b.program_id AND r.cell = b.lane AND r.purchase_id = b.id
        GROUP BY 1, 2, 3
    ), earned AS (
        SELECT b.program_id, b.cell, b.member_id, b.day, w.award ->> 'points_currency' AS code,
               sum((w.award ->> 'points')::bigint - coalesce((
                   SELECT sum((r.taken ->> (w.place - 1)::int)::bigint) FROM returns r
                   WHERE r.program_id = b.program_id AND r.cell = b.lane AND r.purchase_id = b.id), 0)) AS points
        FROM bought b, LATERAL json_array_elements(b.awards) WITH ORDINALITY w(award, place)
        GROUP BY 1, 2, 3, 4, 5
    ), points AS (
        SELECT program_id, cell, member_id, day, jsonb_object_agg(code, points) AS points
        FROM earned GROUP BY 1, 2, 3, 4
    ), days AS (
        SELECT b.program_id, b.cell, b.member_id, b.day,
               sum(b.amount_minor - coalesce(g.amount_minor, 0)) AS spend_minor,
               count(*) FILTER (WHERE g.complete IS NOT TRUE) AS visits
        FROM bought b LEFT JOIN gone g USING (program_id, lane, id) GROUP BY 1, 2, 3, 4
    )
    SELECT program_id, cell, member_id, day, spend_minor, visits, coalesce(points, '{}')
    FROM days LEFT JOIN points USING (program_id, cell, member_id, day)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for table in BY_PROGRAM:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY own_program ON {table} TO loyalty_app "
            f"USING (program_id = nullif(current_setting('loyalty.program', true), '')::uuid)"
        )


def downgrade() -> None:
    for table in BY_PROGRAM:
        op.execute(f"DROP TYPE {table}_row")
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION points_and(jsonb, jsonb)")
    op.execute("DROP TYPE configurations_row_3")
    op.execute("ALTER TABLE configurations DROP COLUMN tier_sets")
