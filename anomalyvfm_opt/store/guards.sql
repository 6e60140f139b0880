-- What rights cannot say is said by triggers (triggers.sql) by these functions: read by roles.sql, at its end, in the
-- same transaction.
--
-- Whoever is not the owner of a table changes nothing of a trial that is complete; completes only a trial that it has
-- a lease for, and has a lease only by a ticket; stops a study only when its trials fail one after the other; looks at
-- locked images only in a round that is planned; and writes no time that a reader could not read.
-- All functions run with the rights of whoever writes, so they can do nothing that it could not. The exception is
-- `unseal` (store/sealed.py), which is the owner's: it writes what a confirmation came to when that is over.

-- Whether the guards are for whoever writes. The owner may all. An old snapshot would show rows as they were.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.is_guarded(relation oid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = relation), 'MEMBER') THEN
        RETURN false;
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('user %s writes in transactions of READ COMMITTED alone', current_user);
    END IF;
    RETURN true;
END
$$;

-- PostgreSQL knows times that Python does not, such as 4000 BC: one of them, and nobody could read the study.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.refuse_odd_times(VARIADIC times timestamptz[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(times) AS t (time) WHERE t.time NOT BETWEEN '1970-01-01Z' AND '2200-01-01Z') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('a time lies between 1970 and 2200, and user %s may not write another', current_user);
    END IF;
END
$$;

-- A trial's row, and what hangs on it. Who completes the trial meanwhile waits for this lock, or is waited for: the
-- check after it sees what was committed then. A trial may be completed together with its values, hence xmin.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.keep_complete_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    its_trial integer;
BEGIN
    IF NOT anomalyvfm_opt.is_guarded(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF TG_TABLE_NAME = 'trials' THEN  -- OLD is the row as it was committed last, and is locked
        IF OLD.state = 'COMPLETE' THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('trials: the trial is complete, and user %s may not change it', current_user);
        ELSIF OLD.state IN ('PRUNED', 'FAIL') THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('trials: the trial has ended, and user %s may not change it', current_user);
        ELSIF NEW.state IN ('COMPLETE', 'PRUNED')
              AND NOT EXISTS (SELECT FROM anomalyvfm_opt.lease WHERE trial_id = OLD.trial_id) THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('trials: the trial has no lease, and user %s may not complete it', current_user);
        ELSIF OLD.state = 'WAITING' AND NEW.state NOT IN ('WAITING', 'RUNNING') THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('trials: the trial waits, and user %s may not end it before it began', current_user);
        END IF;
        PERFORM anomalyvfm_opt.refuse_odd_times(NEW.datetime_start, NEW.datetime_complete);
        RETURN NEW;
    END IF;
    its_trial := COALESCE(OLD.trial_id, NEW.trial_id);
    PERFORM FROM trials WHERE trial_id = its_trial FOR SHARE;
    IF EXISTS (SELECT FROM trials
                WHERE trial_id = its_trial AND state = 'COMPLETE' AND xmin <> pg_current_xact_id()::xid) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%s: the trial is complete, and user %s may not change it', TG_TABLE_NAME, current_user);
    END IF;
    IF TG_TABLE_NAME = 'trial_values' THEN  -- a second value would make a study one of several objectives
        IF NEW.objective <> 0 THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('trials have one value, and user %s may not add another', current_user);
        END IF;
    ELSIF TG_TABLE_NAME = 'trial_user_attributes' THEN  -- the copy of a trial that was given back has its plan
        IF NEW.key = 'planned' AND (TG_OP = 'INSERT' OR NEW.value_json <> OLD.value_json) AND NOT EXISTS (
            SELECT FROM trials mine JOIN trials lost ON lost.study_id = mine.study_id AND lost.state = 'FAIL'
              JOIN trial_user_attributes a ON a.trial_id = lost.trial_id AND a.key = 'planned'
             WHERE mine.trial_id = its_trial AND TG_OP = 'INSERT' AND a.value_json = NEW.value_json)
        THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('trials are planned by `confirm`, and user %s may not plan or change one', current_user);
        END IF;
    END IF;
    RETURN NEW;
END
$$;

-- Likewise for scores and files, which come and go by many rows a statement.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.keep_complete_sheet() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT anomalyvfm_opt.is_guarded(TG_RELID) THEN
        RETURN NULL;
    END IF;
    PERFORM FROM trials WHERE trial_id IN (SELECT trial_id FROM changed) ORDER BY trial_id FOR SHARE;
    IF EXISTS (SELECT FROM trials WHERE trial_id IN (SELECT trial_id FROM changed)
                  AND state = 'COMPLETE' AND xmin <> pg_current_xact_id()::xid) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%s: the trial is complete, and user %s may not change it', TG_TABLE_NAME, current_user);
    END IF;
    RETURN NULL;
END
$$;

-- A trial begins unfinished, with the next number and the next key: a key ahead would be in the way of a later trial.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.begin_unfinished() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT anomalyvfm_opt.is_guarded(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF NEW.state NOT IN ('RUNNING', 'WAITING') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('trials: a trial ends when it is told, and user %s may not add one as %s', current_user,
                             NEW.state);
    END IF;
    PERFORM anomalyvfm_opt.refuse_odd_times(NEW.datetime_start, NEW.datetime_complete);
    PERFORM FROM studies WHERE study_id = NEW.study_id FOR UPDATE;
    IF NEW.number IS DISTINCT FROM (SELECT count(*) FROM trials WHERE study_id = NEW.study_id)
       OR NEW.trial_id <> currval('trials_trial_id_seq') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('trials: a trial has the next number, and user %s may not choose another', current_user);
    END IF;
    RETURN NEW;
END
$$;

-- A ticket is counted as store/budget.py does, under the same lock, whatever the statement was that takes it.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.come_by_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT anomalyvfm_opt.is_guarded(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF NEW.expires_at > now() + interval '10000000 seconds' THEN  -- the longest that --grace-s takes
        RAISE insufficient_privilege USING
            MESSAGE = format('a lease comes to an end, and user %s may not keep it for ever', current_user);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.trial_id IS DISTINCT FROM OLD.trial_id THEN
            PERFORM FROM trials WHERE trial_id = NEW.trial_id FOR SHARE;
            IF OLD.trial_id IS NOT NULL OR NOT EXISTS (
                SELECT FROM trials WHERE trial_id = NEW.trial_id AND study_id = NEW.study_id AND state = 'RUNNING')
            THEN
                RAISE insufficient_privilege USING
                    MESSAGE = format('a lease is of one trial of its study that runs, and user %s may not move it',
                                     current_user);
            END IF;
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.trial_id IS NOT NULL THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('a lease begins without a trial, and user %s may not give it one', current_user);
    END IF;
    PERFORM FROM anomalyvfm_opt.study WHERE study_id = NEW.study_id FOR UPDATE;
    IF NOT EXISTS (
        SELECT FROM anomalyvfm_opt.study s JOIN studies n ON n.study_id = s.study_id,
               LATERAL (SELECT count(*) FILTER (WHERE t.state IN ('COMPLETE', 'PRUNED')
                                                   OR (t.state = 'FAIL' AND o.is_final)) AS settled,
                               count(*) FILTER (WHERE t.state = 'WAITING') AS waiting
                          FROM trials t LEFT JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = t.trial_id
                         WHERE t.study_id = s.study_id) AS c,
               LATERAL (SELECT count(*) FILTER (
                                   WHERE l.trial_id IS NULL OR t.state = 'RUNNING'
                                      OR (t.state = 'FAIL' AND o.trial_id IS NULL)) AS held,
                               count(*) FILTER (WHERE l.trial_id IS NULL) AS asking
                          FROM anomalyvfm_opt.lease l LEFT JOIN trials t ON t.trial_id = l.trial_id
                          LEFT JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = l.trial_id
                         WHERE l.study_id = s.study_id) AS h
         WHERE s.study_id = NEW.study_id AND s.state = 'active' AND c.settled + h.held < s.budget
           AND (c.waiting > h.asking OR n.study_name NOT LIKE '%#%'))
    THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('study %s has no ticket left, and user %s may not take one', NEW.study_id, current_user);
    END IF;
    RETURN NEW;
END
$$;

-- The end that is written down is the one that came: else a worker could spend a study's budget, or stop it, by names.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.end_as_it_did() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stored text;
BEGIN
    IF NOT anomalyvfm_opt.is_guarded(TG_RELID) THEN
        RETURN NEW;
    END IF;
    SELECT state INTO stored FROM trials WHERE trial_id = NEW.trial_id FOR SHARE;
    NEW.ended_at := now();  -- the last ones decide whether a study is stopped
    IF stored IN ('RUNNING', 'WAITING') OR (stored = 'COMPLETE') <> (NEW.outcome = 'completed')
       OR (stored = 'COMPLETE' AND NOT NEW.is_final) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the trial is %s, and user %s may not give it an outcome that is not its state: %s', stored,
                             current_user, NEW.outcome);
    END IF;
    IF NEW.outcome = 'bug' AND NOT EXISTS (SELECT FROM anomalyvfm_opt.lease WHERE trial_id = NEW.trial_id) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the trial has no lease, and user %s may not fail it', current_user);
    END IF;
    RETURN NEW;
END
$$;

-- As trial/settle.py stops a study: its last three trials that count failed by a bug.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.stop_on_bugs_alone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT anomalyvfm_opt.is_guarded(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF OLD.state <> 'active' OR NEW.state <> 'stopped' OR NEW.state_reason LIKE 'by study %' OR (
        SELECT count(*) FILTER (WHERE outcome = 'bug')
          FROM (SELECT o.outcome FROM anomalyvfm_opt.trial_outcome o JOIN trials t ON t.trial_id = o.trial_id
                 WHERE t.study_id = NEW.study_id AND o.is_final
                 ORDER BY o.ended_at DESC, t.number DESC LIMIT 3) AS last) < 3
    THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('user %s may not pause, resume or stop a study but one whose trials fail one after the other',
                             current_user);
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION anomalyvfm_opt.claim_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.device <> '' AND NEW.device <> OLD.device AND anomalyvfm_opt.is_guarded(TG_RELID) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the confirmation is carried out on %s, and user %s may not change that', OLD.device,
                             current_user);
    END IF;
    RETURN NEW;
END
$$;

-- A look is counted for ever: one of a round that nobody planned would pass for an opened lock, or be the last round.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.look_as_planned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT anomalyvfm_opt.is_guarded(TG_RELID) THEN
        RETURN NEW;
    END IF;
    NEW.looked_at := now();
    IF NOT EXISTS (SELECT FROM anomalyvfm_opt.confirmation c JOIN studies n ON n.study_id = c.study_id
                    WHERE n.study_name = NEW.study_name AND c.round = NEW.round) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%s has no round %s, and user %s may not look in it', NEW.study_name, NEW.round,
                             current_user);
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION anomalyvfm_opt.live_in_our_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF anomalyvfm_opt.is_guarded(TG_RELID) THEN
        PERFORM anomalyvfm_opt.refuse_odd_times(NEW.started_at, NEW.heartbeat_at, NEW.ended_at);
    END IF;
    RETURN NEW;
END
$$;

-- Raised with each change of this file, triggers.sql or roles.sql, and GUARDS in store/roles.py with it: `doctor`
-- compares.
CREATE OR REPLACE FUNCTION anomalyvfm_opt.guards_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 3';
