-- Three roles on one study store, each with the rights that it needs and no more. `anomalyvfm-opt db roles` runs
-- this file; an administrator may as well, in the store's own database:
--
--   psql -v ON_ERROR_STOP=1 --single-transaction \
--        -v owner=anomalyvfm_opt -v worker=anomalyvfm_opt_worker -v viewer=anomalyvfm_opt_viewer \
--        -f anomalyvfm_opt/store/roles.sql DATABASE
--
-- owner   has the tables: creates and deletes studies, confirms, upgrades.
-- worker  runs trials, and leads workers: it can neither create, pause nor delete a study, nor change a table. It
--         deletes leases, and scores of a trial that was taken from it, but can change nothing of a trial that is
--         complete, and completes none without a ticket and a lease.
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

-- What everybody may by PostgreSQL's defaults, in this database: temporary tables fill its disk, and so do large
-- objects and messages in its log; and whoever takes an advisory lock of ours holds up the creation of studies. Its owner takes the first
-- away, and only a superuser the others; `doctor` says what is left.
DO $from_everybody$
DECLARE
    owner    text := current_setting('anomalyvfm_opt.owner');
    others   text := format('PUBLIC, %I, %I', current_setting('anomalyvfm_opt.worker'),
                            current_setting('anomalyvfm_opt.viewer'));
    is_super boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
    item     text;
BEGIN
    IF pg_has_role((SELECT datdba FROM pg_database WHERE datname = current_database()), 'MEMBER') THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM %s', current_database(), others);
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), owner);
    END IF;
    IF NOT is_super THEN
        RETURN;
    END IF;
    FOR item IN
        SELECT oid::regprocedure::text FROM pg_proc
         WHERE pronamespace = 'pg_catalog'::regnamespace
           AND (proname ~ '^pg_(try_)?advisory_'
                OR proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lo_open', 'lowrite',
                               'lo_truncate', 'lo_truncate64', 'lo_unlink', 'pg_logical_emit_message'))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', item, others);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', item, owner);
    END LOOP;
    -- A query that sorts without end, or a hundred sessions, are the reader's own trouble then. A role cannot raise
    -- these two by itself; what an administrator has chosen is left.
    FOREACH item IN ARRAY ARRAY[current_setting('anomalyvfm_opt.worker'), current_setting('anomalyvfm_opt.viewer')] LOOP
        IF NOT EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) AS c (line)
                        WHERE setrole = to_regrole(quote_ident(item)) AND c.line LIKE 'temp_file_limit=%') THEN
            EXECUTE format('ALTER ROLE %I IN DATABASE %I SET temp_file_limit = %L', item, current_database(), '10GB');
        END IF;
    END LOOP;
    IF (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_setting('anomalyvfm_opt.viewer')) = -1 THEN
        EXECUTE format('ALTER ROLE %I CONNECTION LIMIT %s', current_setting('anomalyvfm_opt.viewer'),
                       greatest(current_setting('max_connections')::integer / 4, 5));
    END IF;
    IF current_setting('cluster_name') LIKE 'anomalyvfm\_opt-%' THEN  -- a server of ours alone
        REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
    END IF;
END
$from_everybody$;

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

-- To count tickets under a lock on this row, and to stop a study whose trials fail one after the other: guards.sql.
GRANT UPDATE (state, state_reason) ON anomalyvfm_opt.study TO :"worker";
GRANT INSERT, DELETE, UPDATE (trial_id, expires_at) ON anomalyvfm_opt.lease TO :"worker";
GRANT INSERT ON anomalyvfm_opt.trial_outcome TO :"worker";
-- The scores of a trial are written anew, never changed.
GRANT INSERT, DELETE ON anomalyvfm_opt.trial_metric, anomalyvfm_opt.image_score, anomalyvfm_opt.artifact,
    anomalyvfm_opt.trial_resample TO :"worker";
-- Also `worker drain`, and `worker reap`, which forgets workers that ended long ago.
GRANT INSERT, DELETE, UPDATE (heartbeat_at, drain, ended_at, end_reason) ON anomalyvfm_opt.worker TO :"worker";
GRANT UPDATE (device) ON anomalyvfm_opt.confirmation TO :"worker";
-- A look at locked images is written down before it happens, and stays.
GRANT INSERT ON anomalyvfm_opt.look, anomalyvfm_opt.look_image TO :"worker";

\ir guards.sql
\ir triggers.sql
