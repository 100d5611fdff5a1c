-- The rival: one hand-written function that records the same purchase as loyalty does, driven by pgbench.
--
-- The same: tables, indexes, checks, triggers, role, row-level security, durability; the rows written by one
-- purchase (idempotency record, activity key, activity with its content, decision with detail and answer of
-- equal size, entry, posting, lot, engagement event, account, cap counter); the rows read first (identifier,
-- member, account, idempotency record, activity key, counter); everything in one commit.
-- Different, each to the rival's advantage unless it says otherwise:
--   it locks the member's account row alone: no head, no block, no hash, no lane;
--   event positions come from a sequence (they may have gaps and commit out of order);
--   it judges no rule: points are the amount divided by 100 and detail, answer, event, digest and fingerprint
--     are finished texts of a real purchase that pgbench holds as constants, so nothing is parsed or formatted;
--   the program of row-level security is set once per connection, not once per transaction;
--   a refusal is any error: no problem is told, no refusal is stored;
--   (against it) ids are made by PostgreSQL and one call is one commit.
CREATE SCHEMA bench;
CREATE SEQUENCE bench.event_position;
CREATE SEQUENCE bench.baseline_runs;

CREATE FUNCTION bench.record_purchase(
    the_card text,
    the_external_id text,
    the_key text,
    the_occurred_at timestamptz,
    the_expires_at timestamptz,
    the_amount_minor bigint,
    the_digest bytea,
    the_content json,
    the_detail text,
    the_answer text,
    the_event json
) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    the_program constant uuid := current_setting('loyalty.program')::uuid;
    the_client constant uuid := '01900000-0000-7000-8000-00000000000c';
    the_now constant timestamptz := clock_timestamp();
    the_decision constant uuid := uuidv7();
    the_activity constant uuid := uuidv7();
    the_entry constant uuid := uuidv7();
    the_lot constant uuid := uuidv7();
    earned constant bigint := the_amount_minor / 100;
    the_member uuid;
    the_cell smallint;
    the_status text;
    the_first uuid;
    account record;
BEGIN
    SELECT member_id, cell INTO the_member, the_cell FROM public.identifiers
        WHERE program_id = the_program AND kind = 'card' AND value = the_card;
    SELECT status INTO the_status FROM public.members
        WHERE program_id = the_program AND cell = the_cell AND id = the_member;
    IF the_status IS DISTINCT FROM 'active' THEN
        RAISE EXCEPTION 'no active member has this card';
    END IF;

    SELECT id, seq, pending, available, held, debt, next_due_at INTO STRICT account FROM public.accounts
        WHERE program_id = the_program AND cell = the_cell AND owner_id = the_member AND points_currency = 'points'
        FOR NO KEY UPDATE;

    INSERT INTO public.idempotency_records
        (program_id, scope, key, fingerprint, created_at, status, decision_id, decision_cell)
        VALUES (the_program, the_client, the_key, the_digest, the_now, 201, the_decision, the_cell)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT decision_id INTO the_first FROM public.idempotency_records
            WHERE program_id = the_program AND scope = the_client AND key = the_key;
        RETURN (SELECT answer FROM public.decisions
            WHERE program_id = the_program AND cell = the_cell AND id = the_first);
    END IF;
    INSERT INTO public.activity_keys
        (program_id, kind, source, external_id, state, activity_id, cell, decision_id, content_digest)
        VALUES (the_program, 'purchase', 'store-12-pos', the_external_id, 'recorded', the_activity, the_cell,
                the_decision, the_digest)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT decision_id INTO the_first FROM public.activity_keys
            WHERE program_id = the_program AND kind = 'purchase' AND source = 'store-12-pos'
              AND external_id = the_external_id;
        RETURN (SELECT answer FROM public.decisions
            WHERE program_id = the_program AND cell = the_cell AND id = the_first);
    END IF;

    INSERT INTO public.activities
        (program_id, cell, id, decision_id, awarded_by, member_id, occurred_at, recorded_at, location, channel, till,
         amount_minor, content)
        VALUES (the_program, the_cell, the_activity, the_decision, the_decision, the_member, the_occurred_at, the_now,
                'store-12', 'pos', '17', the_amount_minor, the_content);
    INSERT INTO public.decisions
        (program_id, cell, id, block_number, kind, member_id, activity_id, actor_kind, actor_id, occurred_at,
         evaluator, detail, answer_status, answer)
        VALUES (the_program, the_cell, the_decision, 0, 'purchase', the_member, the_activity, 'client', the_client,
                the_occurred_at, 1, the_detail, 201, the_answer);
    INSERT INTO public.counters (program_id, cell, owner_id, rule_id, period, points)
        VALUES (the_program, the_cell, the_member, 'capped-coffee', to_char(the_occurred_at, 'YYYY-MM-01'), earned)
        ON CONFLICT (program_id, cell, owner_id, rule_id, period)
        DO UPDATE SET points = counters.points + excluded.points;
    INSERT INTO public.lots
        (program_id, cell, id, account_id, issuing_entry_id, decision_id, points, vintage_at, policy_number,
         issued_expires_at, expires_at, arrived_at, is_open, issued, pending, available, held, redeemed, expired,
         revoked, transferred, deficit)
        VALUES (the_program, the_cell, the_lot, account.id, the_entry, the_decision, earned, the_occurred_at, 1,
                the_expires_at, the_expires_at, the_occurred_at, true, -earned, 0, earned, 0, 0, 0, 0, 0, 0);
    INSERT INTO public.entries
        (program_id, cell, id, account_id, seq, decision_id, kind, occurred_at, recorded_at, pending, available,
         held, debt)
        VALUES (the_program, the_cell, the_entry, account.id, account.seq + 1, the_decision, 'earn',
                the_occurred_at, the_now, account.pending, account.available + earned, account.held, account.debt);
    INSERT INTO public.postings (program_id, cell, entry_id, position, lot_id, points, source, target)
        VALUES (the_program, the_cell, the_entry, 0, the_lot, earned, 'issued', 'available');
    UPDATE public.accounts SET
            seq = seq + 1,
            available = available + earned,
            active_at = greatest(active_at, the_occurred_at),
            next_due_at = least(next_due_at, the_expires_at),
            first_entry_id = coalesce(first_entry_id, the_entry),
            last_entry_id = the_entry
        WHERE program_id = the_program AND cell = the_cell AND owner_id = the_member AND points_currency = 'points';
    INSERT INTO public.engagement_events
        (program_id, cell, id, position, decision_id, type, member_id, occurred_at, recorded_at, data)
        VALUES (the_program, the_cell, uuidv7(), nextval('bench.event_position'), the_decision,
                'loyalty.purchase.recorded', the_member, the_occurred_at, the_now, the_event);
    RETURN the_answer;
END
$$;

GRANT USAGE ON SCHEMA bench TO loyalty_app;
GRANT USAGE ON SEQUENCE bench.event_position, bench.baseline_runs TO loyalty_app;
GRANT EXECUTE ON FUNCTION bench.record_purchase TO loyalty_app;
