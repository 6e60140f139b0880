-- Three roles on one study store, each with the rights that it needs and no more. `anomalyvfm-opt db roles` runs
-- this file; an administrator may as well, in the store's own database:
--
--   psql -v ON_ERROR_STOP=1 --single-transaction \
--        -v owner=anomalyvfm_opt -v worker=anomalyvfm_opt_worker -v viewer=anomalyvfm_opt_viewer \
--        -f anomalyvfm_opt/store/roles.sql DATABASE
--
-- owner   has the tables: creates and deletes studies, confirms, upgrades.
-- worker  runs trials, and leads workers: it can neither create nor delete a study, nor change a table. It deletes
--         leases, and scores of a trial that was taken from it, but can change nothing of a trial that is complete.
-- viewer  reads: the dashboard, `study show`, `verdict`.
--
-- The tables have to be there (`anomalyvfm-opt db upgrade`). It may be run again at any time, also while workers
-- run: afterwards worker and viewer have exactly what stands here. No role gets a password: give each one with
-- \password NAME in psql.

SELECT set_config('anomalyvfm_opt.owner', :'owner', true),
       set_config('anomalyvfm_opt.worker', :'worker', true),
       set_config('anomalyvfm_opt.viewer', :'viewer', true);

DO $roles$
DECLARE
    owner  text := current_setting('anomalyvfm_opt.owner');
    worker text := current_setting('anomalyvfm_opt.worker');
    viewer text := current_setting('anomalyvfm_opt.viewer');
    name   text;
    item   record;
BEGIN
    IF to_regclass('studies') IS NULL OR to_regclass('anomalyvfm_opt.look_image') IS NULL THEN
        RAISE EXCEPTION 'database % has no study store of this version: run `anomalyvfm-opt db upgrade` first',
            current_database();
    END IF;
    IF owner = worker OR owner = viewer OR worker = viewer THEN
        RAISE EXCEPTION 'owner, worker and viewer are three roles, not % % %', owner, worker, viewer;
    END IF;
    FOREACH name IN ARRAY ARRAY[owner, worker, viewer] LOOP
        IF to_regrole(quote_ident(name)) IS NULL THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
    END LOOP;
    FOREACH name IN ARRAY ARRAY[worker, viewer] LOOP
        IF pg_has_role(name, owner, 'MEMBER') THEN  -- a superuser is a member of every role
            RAISE EXCEPTION 'role % may do all that the owner % may: take another', name, owner;
        END IF;
    END LOOP;

    -- What another role made, such as the administrator, becomes the owner's.
    FOR item IN
        SELECT format('ALTER %s %s OWNER TO %I', kind, thing, owner) AS statement
          FROM (SELECT 'TABLE' AS kind, oid::regclass::text AS thing, relowner AS has_it
                  FROM pg_class
                 WHERE relkind = 'r'
                   AND (relnamespace = 'anomalyvfm_opt'::regnamespace
                        OR oid IN (SELECT to_regclass(t) FROM unnest(ARRAY[
                            'studies', 'study_directions', 'study_user_attributes', 'study_system_attributes',
                            'trials', 'trial_params', 'trial_values', 'trial_intermediate_values',
                            'trial_user_attributes', 'trial_system_attributes', 'trial_heartbeats',
                            'version_info', 'alembic_version']) AS t))
                UNION ALL
                SELECT 'TYPE', oid::regtype::text, typowner FROM pg_type
                 WHERE oid IN (SELECT to_regtype(t) FROM unnest(ARRAY[
                            'studydirection', 'trialstate', 'trialvaluetype', 'trialintermediatevaluetype']) AS t)
                UNION ALL
                SELECT 'SCHEMA', nspname, nspowner FROM pg_namespace WHERE nspname = 'anomalyvfm_opt') AS things
         WHERE has_it <> to_regrole(quote_ident(owner))
    LOOP
        EXECUTE item.statement;
    END LOOP;
END
$roles$;

-- Nobody makes tables here but the owner. Before PostgreSQL 15 everybody might.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
REVOKE ALL ON SCHEMA public, anomalyvfm_opt FROM :"worker", :"viewer";
GRANT USAGE ON SCHEMA public, anomalyvfm_opt TO :"worker", :"viewer";

REVOKE ALL ON ALL TABLES IN SCHEMA anomalyvfm_opt FROM :"worker", :"viewer";
REVOKE ALL ON studies, study_directions, study_user_attributes, study_system_attributes, trials, trial_params,
    trial_values, trial_intermediate_values, trial_user_attributes, trial_system_attributes, trial_heartbeats,
    version_info, alembic_version FROM :"worker", :"viewer";
DO $given_by_hand$
DECLARE
    worker text := current_setting('anomalyvfm_opt.worker');
    viewer text := current_setting('anomalyvfm_opt.viewer');
    item   text;
BEGIN
    EXECUTE format('REVOKE CREATE ON DATABASE %I FROM %I, %I', current_database(), worker, viewer);
    FOR item IN
        SELECT s.oid::regclass::text
          FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
          JOIN pg_class t ON t.oid = d.refobjid
         WHERE s.relkind = 'S' AND t.relowner = to_regrole(quote_ident(current_setting('anomalyvfm_opt.owner')))
    LOOP
        EXECUTE format('REVOKE ALL ON SEQUENCE %s FROM %I, %I', item, worker, viewer);
    END LOOP;
END
$given_by_hand$;

-- Both read everything, also the tables that a later version adds.
GRANT SELECT ON ALL TABLES IN SCHEMA anomalyvfm_opt TO :"worker", :"viewer";
GRANT SELECT ON studies, study_directions, study_user_attributes, study_system_attributes, trials, trial_params,
    trial_values, trial_intermediate_values, trial_user_attributes, trial_system_attributes, trial_heartbeats,
    version_info, alembic_version TO :"worker", :"viewer";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public, anomalyvfm_opt
    GRANT SELECT ON TABLES TO :"worker", :"viewer";

-- Trials: a worker starts them, writes what they came to, and never deletes one.
GRANT INSERT ON trials, trial_params, trial_values, trial_intermediate_values, trial_user_attributes,
    trial_system_attributes TO :"worker";
GRANT UPDATE (state, datetime_start, datetime_complete) ON trials TO :"worker";
GRANT UPDATE (value, value_type) ON trial_values TO :"worker";
GRANT UPDATE (intermediate_value, intermediate_value_type) ON trial_intermediate_values TO :"worker";
GRANT UPDATE (value_json) ON trial_user_attributes, trial_system_attributes TO :"worker";
GRANT USAGE ON SEQUENCE trials_trial_id_seq, trial_params_param_id_seq, trial_values_trial_value_id_seq,
    trial_intermediate_values_trial_intermediate_value_id_seq, trial_user_attributes_trial_user_attribute_id_seq,
    trial_system_attributes_trial_system_attribute_id_seq TO :"worker";
-- To lock a study's row while a trial is numbered takes the right to change one of its columns: this one, which
-- foreign keys hold.
GRANT UPDATE (study_id) ON studies TO :"worker";

-- Pause, resume and stop; a fleet of workers stops a study whose trials fail one after the other.
GRANT UPDATE (state, state_reason) ON anomalyvfm_opt.study TO :"worker";
GRANT INSERT, UPDATE, DELETE ON anomalyvfm_opt.lease TO :"worker";
GRANT INSERT ON anomalyvfm_opt.trial_outcome TO :"worker";
-- The scores of a trial are written anew, never changed.
GRANT INSERT, DELETE ON anomalyvfm_opt.trial_metric, anomalyvfm_opt.image_score, anomalyvfm_opt.artifact,
    anomalyvfm_opt.trial_resample TO :"worker";
-- Also `worker drain`, and `worker reap`, which forgets workers that ended long ago.
GRANT INSERT, DELETE, UPDATE (heartbeat_at, drain, ended_at, end_reason) ON anomalyvfm_opt.worker TO :"worker";
GRANT UPDATE (device) ON anomalyvfm_opt.confirmation TO :"worker";
-- A look at locked images is written down before it happens, and stays.
GRANT INSERT ON anomalyvfm_opt.look, anomalyvfm_opt.look_image TO :"worker";

-- What a trial came to stays, whatever a worker's host would have it be; studies are deleted by the owner.
DO $guards$
DECLARE
    rows   text[] := ARRAY['trials', 'trial_params', 'trial_values', 'trial_intermediate_values',
                           'trial_user_attributes', 'trial_system_attributes'];
    sheets text[] := ARRAY['anomalyvfm_opt.trial_metric', 'anomalyvfm_opt.image_score', 'anomalyvfm_opt.artifact',
                           'anomalyvfm_opt.trial_resample'];
    bare   text[];
    item   text;
    tries  integer := 0;
BEGIN
    -- The owner may. An old snapshot would show a trial as it was. A trial is completed together with its values.
    FOREACH item IN ARRAY ARRAY['row', 'sheet'] LOOP
        EXECUTE format($function$
            CREATE OR REPLACE FUNCTION anomalyvfm_opt.keep_complete_%1$s() RETURNS trigger LANGUAGE plpgsql
                SET search_path = %2$s, pg_temp AS $body$
            BEGIN
                IF pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER') THEN
                    RETURN NEW;
                END IF;
                IF current_setting('transaction_isolation') <> 'read committed' THEN
                    RAISE insufficient_privilege USING
                        MESSAGE = format('user %%s writes in transactions of READ COMMITTED alone', current_user);
                END IF;
                IF EXISTS (SELECT FROM trials WHERE state = 'COMPLETE' AND trial_id %3$s
                              AND xmin <> pg_current_xact_id()::xid) THEN
                    RAISE insufficient_privilege USING
                        MESSAGE = format('%%s: the trial is complete, and user %%s may not change it',
                                         TG_TABLE_NAME, current_user);
                END IF;
                IF TG_TABLE_NAME = 'trial_values' THEN
                    IF NEW.objective <> 0 THEN
                        RAISE insufficient_privilege USING
                            MESSAGE = format('trials have one value, and user %%s may not add another', current_user);
                    END IF;
                END IF;
                RETURN NEW;
            END
            $body$
            $function$, item, (SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n
                                   ON n.oid = c.relnamespace WHERE c.oid = to_regclass('trials')),
            CASE item WHEN 'row' THEN '= COALESCE(OLD.trial_id, NEW.trial_id)' ELSE 'IN (SELECT trial_id FROM changed)' END);
        EXECUTE format('ALTER FUNCTION anomalyvfm_opt.keep_complete_%s() OWNER TO %I', item,
                       current_setting('anomalyvfm_opt.owner'));
    END LOOP;

    SELECT array_agg(t) INTO bare FROM unnest(rows || sheets) AS t
     WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(t) AND tgname LIKE 'keep_complete%');
    IF bare IS NULL THEN
        RETURN;
    END IF;
    LOOP  -- all of them at once or none: workers take these locks in other orders
        BEGIN
            EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE NOWAIT', array_to_string(bare, ', '));
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            tries := tries + 1;
            IF tries = 600 THEN
                RAISE lock_not_available USING MESSAGE = 'the tables are too busy to be guarded now';
            END IF;
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
    FOREACH item IN ARRAY bare LOOP
        IF item = ANY (rows) THEN
            EXECUTE format('CREATE TRIGGER keep_complete BEFORE %s ON %s FOR EACH ROW'
                           ' EXECUTE FUNCTION anomalyvfm_opt.keep_complete_row()',
                           CASE item WHEN 'trials' THEN 'UPDATE' ELSE 'INSERT OR UPDATE' END, item);
        ELSE
            EXECUTE format('CREATE TRIGGER keep_complete_added AFTER INSERT ON %s REFERENCING NEW TABLE AS changed'
                           ' FOR EACH STATEMENT EXECUTE FUNCTION anomalyvfm_opt.keep_complete_sheet()', item);
            EXECUTE format('CREATE TRIGGER keep_complete_gone AFTER DELETE ON %s REFERENCING OLD TABLE AS changed'
                           ' FOR EACH STATEMENT EXECUTE FUNCTION anomalyvfm_opt.keep_complete_sheet()', item);
        END IF;
    END LOOP;
END
$guards$;
