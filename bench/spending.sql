-- The rivals of spending: hand-written functions that redeem points, set them aside and take them, driven by pgbench.
--
-- The same as in baseline.sql, and different in the same ways, each to the rival's advantage: the tables, indexes,
-- checks, role, row-level security, durability and rows of ours (idempotency record, decision, entry, posting, lot,
-- account, event; redemption or hold); one lock, on the member's account row; no head, no block, no hash; nothing
-- falls due, no policy, limit or freeze is looked at; detail, answer and event are finished texts of ours.
-- Points come from the lots that expire first, and a balance that does not suffice is an error. Needs: baseline.sql.

-- A member's account, locked; an error unless the member is active and the points suffice.
CREATE FUNCTION bench.locked_account(the_card text, the_points bigint) RETURNS public.accounts
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    the_program constant uuid := current_setting('loyalty.program')::uuid;
    the_member uuid;
    the_cell smallint;
    the_status text;
    account public.accounts;
BEGIN
    SELECT member_id, cell INTO the_member, the_cell FROM public.identifiers
        WHERE program_id = the_program AND kind = 'card' AND value = the_card;
    SELECT status INTO the_status FROM public.members
        WHERE program_id = the_program AND cell = the_cell AND id = the_member;
    IF the_status IS DISTINCT FROM 'active' THEN
        RAISE EXCEPTION 'no active member has this card';
    END IF;
    SELECT * INTO STRICT account FROM public.accounts
        WHERE program_id = the_program AND cell = the_cell AND owner_id = the_member AND points_currency = 'points'
        FOR NO KEY UPDATE;
    IF account.available < the_points THEN
        RAISE EXCEPTION 'the account holds % points', account.available;
    END IF;
    RETURN account;
END
$$;

-- The first answer under a key, or null when the key is new and is now this decision's.
CREATE FUNCTION bench.answered(the_key text, the_digest bytea, the_status smallint, the_decision uuid, the_cell smallint)
RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    the_program constant uuid := current_setting('loyalty.program')::uuid;
    the_client constant uuid := '01900000-0000-7000-8000-00000000000c';
    the_first uuid;
BEGIN
    INSERT INTO public.idempotency_records
        (program_id, scope, key, fingerprint, created_at, status, decision_id, decision_cell)
        VALUES (the_program, the_client, the_key, the_digest, clock_timestamp(), the_status, the_decision, the_cell)
        ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    SELECT decision_id INTO the_first FROM public.idempotency_records
        WHERE program_id = the_program AND scope = the_client AND key = the_key;
    RETURN (SELECT answer FROM public.decisions
        WHERE program_id = the_program AND cell = the_cell AND id = the_first);
END
$$;

-- Moves points of an account's lots out of `available`, those that expire first; which lots gave how many.
CREATE FUNCTION bench.take(account public.accounts, the_entry uuid, the_points bigint, the_target text)
RETURNS json LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    lot record;
    part bigint;
    missing bigint := the_points;
    place smallint := 0;
    parts text[];
BEGIN
    FOR lot IN
        SELECT id, available FROM public.lots
        WHERE program_id = account.program_id AND cell = account.cell AND account_id = account.id AND is_open
            AND available > 0
        ORDER BY expires_at NULLS LAST, vintage_at, id
    LOOP
        part := least(lot.available, missing);
        INSERT INTO public.postings (program_id, cell, entry_id, position, lot_id, points, source, target)
            VALUES (account.program_id, account.cell, the_entry, place, lot.id, part, 'available', the_target);
        UPDATE public.lots SET
                available = available - part,
                held = held + CASE the_target WHEN 'held' THEN part ELSE 0 END,
                redeemed = redeemed + CASE the_target WHEN 'redeemed' THEN part ELSE 0 END,
                is_open = the_target = 'held' OR pending + held + available > part
            WHERE program_id = account.program_id AND cell = account.cell AND id = lot.id;
        parts := parts || format('["%s",%s]', lot.id, part);
        missing := missing - part;
        place := place + 1::smallint;
        EXIT WHEN missing = 0;
    END LOOP;
    RETURN ('[' || array_to_string(parts, ',') || ']')::json;
END
$$;

-- What every decision leaves beside its points: itself, its entry, the account after it, its event.
CREATE FUNCTION bench.decided(
    account public.accounts,
    the_decision uuid,
    the_kind text,
    the_activity uuid,
    the_status smallint,
    the_detail text,
    the_answer text,
    the_entry uuid,
    the_entry_kind text,
    the_cause text,
    the_corrected uuid,
    the_due timestamptz,
    the_event_type text,
    the_event json
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    the_client constant uuid := '01900000-0000-7000-8000-00000000000c';
    the_now constant timestamptz := clock_timestamp();
BEGIN
    INSERT INTO public.decisions
        (program_id, cell, id, block_number, kind, member_id, activity_id, actor_kind, actor_id, occurred_at,
         evaluator, detail, answer_status, answer)
        VALUES (account.program_id, account.cell, the_decision, 0, the_kind, account.owner_id, the_activity, 'client',
                the_client, the_now, 1, the_detail, the_status, the_answer);
    INSERT INTO public.entries
        (program_id, cell, id, account_id, seq, decision_id, kind, occurred_at, recorded_at, cause,
         corrects_entry_id, pending, available, held, debt)
        VALUES (account.program_id, account.cell, the_entry, account.id, account.seq + 1, the_decision,
                the_entry_kind, the_now, the_now, the_cause, the_corrected, account.pending, account.available,
                account.held, account.debt);
    UPDATE public.accounts SET
            seq = seq + 1,
            available = account.available,
            held = account.held,
            next_due_at = least(next_due_at, the_due),
            last_entry_id = the_entry
        WHERE program_id = account.program_id AND cell = account.cell AND owner_id = account.owner_id
            AND points_currency = 'points';
    INSERT INTO public.engagement_events
        (program_id, cell, id, position, decision_id, type, member_id, occurred_at, recorded_at, data)
        VALUES (account.program_id, account.cell, uuidv7(), nextval('bench.event_position'), the_decision,
                the_event_type, account.owner_id, the_now, the_now, the_event);
END
$$;

CREATE FUNCTION bench.redeem(
    the_card text,
    the_key text,
    the_points bigint,
    the_digest bytea,
    the_detail text,
    the_answer text,
    the_event json
) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    the_now constant timestamptz := clock_timestamp();
    the_decision constant uuid := uuidv7();
    the_redemption constant uuid := uuidv7();
    the_entry constant uuid := uuidv7();
    account public.accounts := bench.locked_account(the_card, the_points);
    the_first constant text := bench.answered(the_key, the_digest, 201::smallint, the_decision, account.cell);
    parts json;
BEGIN
    IF the_first IS NOT NULL THEN
        RETURN the_first;
    END IF;
    parts := bench.take(account, the_entry, the_points, 'redeemed');
    account.available := account.available - the_points;
    PERFORM bench.decided(account, the_decision, 'redeem', the_redemption, 201::smallint, the_detail, the_answer,
        the_entry, 'redeem', 'payment', NULL, NULL, 'loyalty.redemption.issued', the_event);
    INSERT INTO public.redemptions
        (program_id, cell, id, member_id, reward, quantity, points_currency, points, money_minor, priced_by, parts,
         location, channel, till, reference, state, redeemed_at, changed_at, decision_id, entry_id, changed_by)
        VALUES (account.program_id, account.cell, the_redemption, account.owner_id, NULL, 1, 'points', the_points,
                the_points, 1, parts, 'store-12', 'pos', '17', NULL, 'issued', the_now, the_now, the_decision,
                the_entry, the_decision);
    RETURN the_answer;
END
$$;

-- The hold's id.
CREATE FUNCTION bench.place_hold(
    the_card text,
    the_key text,
    the_points bigint,
    the_digest bytea,
    the_detail text,
    the_answer text,
    the_event json,
    the_deadlines json
) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    the_now constant timestamptz := clock_timestamp();
    lapses constant timestamptz := the_now + interval '15 minutes';
    the_decision constant uuid := uuidv7();
    the_hold constant uuid := uuidv7();
    account public.accounts := bench.locked_account(the_card, the_points);
    the_first constant text := bench.answered(the_key, the_digest, 201::smallint, the_decision, account.cell);
    parts json;
BEGIN
    IF the_first IS NOT NULL THEN
        RETURN (the_first::json ->> 'id')::uuid;
    END IF;
    parts := bench.take(account, the_hold, the_points, 'held');
    account.available := account.available - the_points;
    account.held := account.held + the_points;
    PERFORM bench.decided(account, the_decision, 'place_hold', NULL, 201::smallint, the_detail, the_answer,
        the_hold, 'hold', NULL, NULL, lapses, 'loyalty.points.held', the_event);
    INSERT INTO public.holds
        (program_id, cell, id, account_id, owner_id, points_currency, points, captured, state, held_at, lapses_at,
         good_until, ended_at, parts, deadlines, reference, till, location)
        VALUES (account.program_id, account.cell, the_hold, account.id, account.owner_id, 'points', the_points, 0,
                'open', the_now, lapses, NULL, NULL, parts, the_deadlines, NULL, '17', 'store-12');
    RETURN the_hold;
END
$$;

CREATE FUNCTION bench.capture_hold(
    the_hold uuid,
    the_key text,
    the_digest bytea,
    the_detail text,
    the_answer text,
    the_event json
) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    the_program constant uuid := current_setting('loyalty.program')::uuid;
    the_decision constant uuid := uuidv7();
    the_entry constant uuid := uuidv7();
    hold public.holds;
    account public.accounts;
    the_first text;
    part json;
    place smallint := 0;
BEGIN
    SELECT * INTO STRICT hold FROM public.holds
        WHERE program_id = the_program AND cell = 0 AND id = the_hold FOR NO KEY UPDATE;
    SELECT * INTO STRICT account FROM public.accounts
        WHERE program_id = the_program AND cell = 0 AND owner_id = hold.owner_id AND points_currency = 'points'
        FOR NO KEY UPDATE;
    the_first := bench.answered(the_key, the_digest, 200::smallint, the_decision, account.cell);
    IF the_first IS NOT NULL THEN
        RETURN the_first;
    END IF;
    IF hold.state <> 'open' OR hold.lapses_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'the hold is over';
    END IF;
    FOR part IN SELECT * FROM json_array_elements(hold.parts) LOOP
        INSERT INTO public.postings (program_id, cell, entry_id, position, lot_id, points, source, target)
            VALUES (the_program, 0, the_entry, place, (part ->> 0)::uuid, (part ->> 1)::bigint, 'held', 'redeemed');
        UPDATE public.lots SET
                held = held - (part ->> 1)::bigint,
                redeemed = redeemed + (part ->> 1)::bigint,
                is_open = pending + available + held > (part ->> 1)::bigint
            WHERE program_id = the_program AND cell = 0 AND id = (part ->> 0)::uuid;
        place := place + 1::smallint;
    END LOOP;
    UPDATE public.holds SET captured = points, state = 'captured', ended_at = clock_timestamp(), parts = '[]'
        WHERE program_id = the_program AND cell = 0 AND id = the_hold;
    account.held := account.held - (hold.points - hold.captured);
    PERFORM bench.decided(account, the_decision, 'capture_hold', NULL, 200::smallint, the_detail, the_answer,
        the_entry, 'capture', NULL, the_hold, NULL, 'loyalty.points.captured', the_event);
    RETURN the_answer;
END
$$;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA bench TO loyalty_app;
