-- Where the functions of guards.sql look, and which writes they watch: read by roles.sql, after it.

-- The functions name the schema that they look into, so that no temporary table stands before it.
DO $settings$
DECLARE
    optuna text := (SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE c.oid = to_regclass('trials'));
    item   text;
BEGIN
    FOREACH item IN ARRAY ARRAY['is_guarded(oid)', 'keep_complete_row()', 'keep_complete_sheet()', 'begin_unfinished()',
                                'come_by_ticket()', 'end_as_it_did()', 'stop_on_bugs_alone()', 'claim_once()',
                                'look_as_planned()', 'live_in_our_time()', 'refuse_odd_times(timestamptz[])',
                                'guards_version()', 'unseal(integer)'] LOOP
        EXECUTE format('ALTER FUNCTION anomalyvfm_opt.%s SET search_path = %s, pg_temp', item, optuna);
        EXECUTE format('ALTER FUNCTION anomalyvfm_opt.%s OWNER TO %I', item,
                       current_setting('anomalyvfm_opt.owner'));
    END LOOP;
END
$settings$;

DO $triggers$
DECLARE
    wanted jsonb;
    bare   text;
    item   record;
    tries  integer := 0;
BEGIN
    SELECT jsonb_agg(to_jsonb(g)), string_agg(DISTINCT g.relation, ', ') INTO wanted, bare FROM (
        SELECT relation, 'keep_complete' AS name, 'BEFORE UPDATE' || added AS fires, '' AS seen, 'ROW' AS each,
               'keep_complete_row' AS does
          FROM (VALUES ('trials', ''), ('trial_params', ' OR INSERT'), ('trial_values', ' OR INSERT'),
                       ('trial_intermediate_values', ' OR INSERT'), ('trial_user_attributes', ' OR INSERT'),
                       ('trial_system_attributes', ' OR INSERT')) AS r (relation, added)
        UNION ALL
        SELECT 'anomalyvfm_opt.' || relation, name, fires, seen, 'STATEMENT', 'keep_complete_sheet'
          FROM unnest(ARRAY['trial_metric', 'image_score', 'artifact', 'trial_resample']) AS s (relation),
               (VALUES ('keep_complete_added', 'AFTER INSERT', 'REFERENCING NEW TABLE AS changed'),
                       ('keep_complete_gone', 'AFTER DELETE', 'REFERENCING OLD TABLE AS changed'))
                   AS t (name, fires, seen)
        UNION ALL
        VALUES ('trials', 'begin_unfinished', 'BEFORE INSERT', '', 'ROW', 'begin_unfinished'),
               ('anomalyvfm_opt.lease', 'come_by_ticket', 'BEFORE INSERT OR UPDATE', '', 'ROW', 'come_by_ticket'),
               ('anomalyvfm_opt.trial_outcome', 'end_as_it_did', 'BEFORE INSERT', '', 'ROW', 'end_as_it_did'),
               ('anomalyvfm_opt.study', 'stop_on_bugs_alone', 'BEFORE UPDATE', '', 'ROW', 'stop_on_bugs_alone'),
               ('anomalyvfm_opt.confirmation', 'claim_once', 'BEFORE UPDATE', '', 'ROW', 'claim_once'),
               ('anomalyvfm_opt.look', 'look_as_planned', 'BEFORE INSERT', '', 'ROW', 'look_as_planned'),
               ('anomalyvfm_opt.worker', 'live_in_our_time', 'BEFORE INSERT OR UPDATE', '', 'ROW', 'live_in_our_time')
    ) AS g
     WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(g.relation) AND tgname = g.name);
    IF bare IS NULL THEN
        RETURN;
    END IF;
    LOOP  -- all of them at once or none: workers take these locks in other orders
        BEGIN
            EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE NOWAIT', bare);
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            tries := tries + 1;
            IF tries = 600 THEN
                RAISE lock_not_available USING MESSAGE = 'the tables are too busy to be guarded now';
            END IF;
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
    FOR item IN SELECT * FROM jsonb_to_recordset(wanted)
                    AS g (relation text, name text, fires text, seen text, each text, does text) LOOP
        EXECUTE format('CREATE TRIGGER %I %s ON %s %s FOR EACH %s EXECUTE FUNCTION anomalyvfm_opt.%I()',
                       item.name, item.fires, item.relation, item.seen, item.each, item.does);
    END LOOP;
END
$triggers$;
