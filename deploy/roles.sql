-- Three roles on one study store, each with the rights that it needs and no more. `anomalyvfm-opt db roles` runs
-- this file; an administrator may as well, in the store's own database:
--
--   psql -v ON_ERROR_STOP=1 --single-transaction \
--        -v owner=anomalyvfm_opt -v worker=anomalyvfm_opt_worker -v viewer=anomalyvfm_opt_viewer \
--        -f deploy/roles.sql DATABASE
--
-- owner   has the tables: creates and deletes studies, confirms, upgrades.
-- worker  runs trials, and leads workers: it can neither create nor delete a study, nor change a table.
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
GRANT USAGE ON SCHEMA public, anomalyvfm_opt TO :"worker", :"viewer";

REVOKE ALL ON ALL TABLES IN SCHEMA anomalyvfm_opt FROM :"worker", :"viewer";
REVOKE ALL ON studies, study_directions, study_user_attributes, study_system_attributes, trials, trial_params,
    trial_values, trial_intermediate_values, trial_user_attributes, trial_system_attributes, trial_heartbeats,
    version_info, alembic_version FROM :"worker", :"viewer";

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
