-- What Redshift has and PostgreSQL has not, put into pg_catalog so that no search_path hides it. Idempotent.
set allow_system_table_mods = on;

do $$ begin create domain pg_catalog.super as jsonb; exception when duplicate_object then null; end $$;

-- what a table was declared with: distribution, sort keys, keys that nobody enforces
create table if not exists pg_catalog.redshift_layout (relation oid primary key, layout text not null);
create table if not exists pg_catalog.redshift_key (relation oid not null, kind text not null, definition text not null);
grant select, insert, update, delete on pg_catalog.redshift_layout, pg_catalog.redshift_key to public;

-- Runs behind each CREATE TABLE [AS] and ALTER TABLE. Keys are dropped and remembered; lengths of VARCHAR are held in
-- bytes by a check; a column of type text is VARCHAR(256).
-- https://docs.aws.amazon.com/redshift/latest/dg/r_Character_types.html
create or replace function pg_catalog.redshift_table_made() returns event_trigger language plpgsql as $f$
declare
    made record;
    edits text[];
    layout text := (regexp_match(current_query(), '/\*redshift (.*?)\*/'))[1];
    outer_tag text;
begin
    for made in
        select distinct on (c.objid) c.objid, c.command_tag, r.relkind
        from pg_event_trigger_ddl_commands() as c inner join pg_class as r on c.objid = r.oid
        where c.classid = 'pg_class'::regclass and r.relkind in ('r', 'p')
    loop
        if layout is not null and made.command_tag like 'CREATE TABLE%' then
            insert into pg_catalog.redshift_layout values (made.objid, layout)
            on conflict (relation) do update set layout = excluded.layout;
        end if;
        -- a table that is made like another is laid out like it
        if made.command_tag = 'CREATE TABLE' then
            insert into pg_catalog.redshift_layout
            select made.objid, other.layout from pg_catalog.redshift_layout as other
            where other.relation = to_regclass((regexp_match(current_query(), '\(\s*like\s+([\w."]+)', 'i'))[1])
            on conflict do nothing;
        end if;
        insert into pg_catalog.redshift_key
        select made.objid, contype, pg_get_constraintdef(oid) from pg_constraint
        where conrelid = made.objid and contype in ('p', 'u', 'f');
        select array_agg(edit order by place) into edits from (
            select 1 as place, format('drop constraint %I', conname) as edit
            from pg_constraint where conrelid = made.objid and contype in ('p', 'u', 'f')
            union all
            select 2, format('alter column %I type varchar(256)', attname)
            from pg_attribute
            where
                attrelid = made.objid and attnum > 0 and not attisdropped and made.command_tag <> 'CREATE TABLE AS'
                and (atttypid = 'text'::regtype or (atttypid = 'varchar'::regtype and atttypmod = -1))
                and not exists (
                    select from pg_constraint where conrelid = attrelid and conname = 'redshift_bytes_' || attnum
                )
            union all
            select
                3,
                format(
                    'add constraint redshift_bytes_%s check (octet_length(%I::text) <= %s)', attnum, attname,
                    case
                        when atttypmod > 0 then atttypmod - 4
                        when made.command_tag = 'CREATE TABLE AS' then 65535
                        else 256
                    end
                )
            from pg_attribute
            where
                attrelid = made.objid and attnum > 0 and not attisdropped
                and atttypid in ('varchar'::regtype, 'bpchar'::regtype, 'text'::regtype)
                and not exists (
                    select from pg_constraint where conrelid = attrelid and conname = 'redshift_bytes_' || attnum
                )
        ) as found;
        if edits is not null then
            execute format('alter table %s %s', made.objid::regclass, array_to_string(edits, ', '));
        end if;
    end loop;
end $f$;
drop event trigger if exists redshift_table_made;
create event trigger redshift_table_made on ddl_command_end
when tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE')
execute function pg_catalog.redshift_table_made();

-- Casts. true::varchar is refused; a SUPER scalar becomes its text without quotes, an object or array none (null).
create or replace function pg_catalog.redshift_no_text(boolean) returns text language plpgsql immutable strict as $f$
begin raise exception using errcode = '42846', message = 'cannot cast type boolean to character varying'; end $f$;
update pg_cast set castfunc = 'pg_catalog.redshift_no_text(boolean)'::regprocedure
where castsource = 'boolean'::regtype and casttarget in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype);

create or replace function pg_catalog.redshift_scalar_text(jsonb) returns text language sql immutable strict as
$f$ select case when jsonb_typeof($1) in ('string', 'number', 'boolean') then $1 #>> '{}' end $f$;
create or replace function pg_catalog.redshift_scalar_varchar(jsonb) returns varchar language sql immutable strict as
$f$ select pg_catalog.redshift_scalar_text($1)::varchar $f$;
do $$ begin create cast (jsonb as varchar) with function pg_catalog.redshift_scalar_varchar(jsonb); exception when duplicate_object then null; end $$;
do $$ begin create cast (jsonb as text) with function pg_catalog.redshift_scalar_text(jsonb); exception when duplicate_object then null; end $$;

-- SUPER and JSON: https://docs.aws.amazon.com/redshift/latest/dg/c_Type_Info_Functions.html, json-functions.html
create or replace function pg_catalog.json_parse(text) returns pg_catalog.super language sql immutable strict as $f$ select $1::jsonb $f$;
create or replace function pg_catalog.can_json_parse(text) returns boolean language plpgsql immutable strict as
$f$ begin perform $1::jsonb; return true; exception when invalid_text_representation or untranslatable_character then return false; end $f$;
-- as jsonb writes itself: its cast to text has become that of a scalar
create or replace function pg_catalog.json_serialize(jsonb) returns varchar language sql immutable strict as $f$ select format('%s', $1) $f$;
create or replace function pg_catalog.json_typeof(jsonb) returns varchar language sql immutable strict as $f$ select jsonb_typeof($1) $f$;
create or replace function pg_catalog.is_object(jsonb) returns boolean language sql immutable as $f$ select coalesce(jsonb_typeof($1) = 'object', false) $f$;
create or replace function pg_catalog.is_array(jsonb) returns boolean language sql immutable as $f$ select coalesce(jsonb_typeof($1) = 'array', false) $f$;
create or replace function pg_catalog.is_varchar(jsonb) returns boolean language sql immutable as $f$ select coalesce(jsonb_typeof($1) = 'string', false) $f$;
create or replace function pg_catalog.is_boolean(jsonb) returns boolean language sql immutable as $f$ select coalesce(jsonb_typeof($1) = 'boolean', false) $f$;
create or replace function pg_catalog.is_scalar(jsonb) returns boolean language sql immutable as
$f$ select coalesce(jsonb_typeof($1) in ('string', 'number', 'boolean'), false) $f$;
create or replace function pg_catalog.get_array_length(jsonb) returns bigint language sql immutable strict as
$f$ select case when jsonb_typeof($1) = 'array' then jsonb_array_length($1) end $f$;
create or replace function pg_catalog.json_size(jsonb) returns bigint language sql immutable strict as $f$ select octet_length(format('%s', $1)) $f$;
create or replace function pg_catalog.is_valid_json(text) returns boolean language plpgsql immutable strict as
$f$ begin return jsonb_typeof($1::jsonb) = 'object'; exception when invalid_text_representation then return false; end $f$;
create or replace function pg_catalog.is_valid_json_array(text) returns boolean language plpgsql immutable strict as
$f$ begin return jsonb_typeof($1::jsonb) = 'array'; exception when invalid_text_representation then return false; end $f$;
create or replace function pg_catalog.json_extract_path_text(j text, variadic path text[]) returns varchar language sql immutable as
$f$ select j::jsonb #>> path $f$;
create or replace function pg_catalog.redshift_object(variadic "any") returns jsonb language internal stable as 'jsonb_build_object';
create or replace function pg_catalog.redshift_object() returns jsonb language internal stable as 'jsonb_build_object_noargs';
create or replace function pg_catalog.redshift_array(variadic "any") returns jsonb language internal stable as 'jsonb_build_array';
create or replace function pg_catalog.redshift_array() returns jsonb language internal stable as 'jsonb_build_array_noargs';

-- Dates: DATEADD counts in the calendar, DATEDIFF counts boundaries crossed
create or replace function pg_catalog.getdate() returns timestamp language sql stable as
$f$ select date_trunc('second', statement_timestamp() at time zone 'UTC') $f$;
create or replace function pg_catalog.redshift_dateadd(part text, n bigint, at timestamp) returns timestamp language sql immutable as
$f$ select at + case when part like 'quarter%' then (3 * n || ' month')::interval else (n || ' ' || part)::interval end $f$;
create or replace function pg_catalog.redshift_datediff(part text, a timestamp, b timestamp) returns bigint language sql immutable as $f$
    select case
        when part in ('year', 'years') then extract(year from b) - extract(year from a)
        when part in ('quarter', 'quarters') then
            (extract(year from b) - extract(year from a)) * 4 + extract(quarter from b) - extract(quarter from a)
        when part in ('month', 'months') then
            (extract(year from b) - extract(year from a)) * 12 + extract(month from b) - extract(month from a)
        when part in ('week', 'weeks') then
            (date_trunc('week', b + interval '1 day')::date - date_trunc('week', a + interval '1 day')::date) / 7
        when part in ('day', 'days') then b::date - a::date
        when part in ('hour', 'hours') then extract(epoch from date_trunc('hour', b) - date_trunc('hour', a)) / 3600
        when part in ('minute', 'minutes') then extract(epoch from date_trunc('minute', b) - date_trunc('minute', a)) / 60
        when part in ('second', 'seconds') then extract(epoch from date_trunc('second', b) - date_trunc('second', a))
        when part in ('microsecond', 'microseconds') then extract(epoch from b - a) * 1000000
    end::bigint $f$;
create or replace function pg_catalog.last_day(timestamp) returns date language sql immutable strict as
$f$ select (date_trunc('month', $1) + interval '1 month' - interval '1 day')::date $f$;
create or replace function pg_catalog.add_months(timestamp, bigint) returns timestamp language sql immutable strict as
$f$ select $1 + ($2 || ' month')::interval $f$;
create or replace function pg_catalog.convert_timezone(text, timestamp) returns timestamp language sql immutable strict as
$f$ select $2 at time zone 'UTC' at time zone $1 $f$;
create or replace function pg_catalog.convert_timezone(text, text, timestamp) returns timestamp language sql immutable strict as
$f$ select $3 at time zone $1 at time zone $2 $f$;

-- Text
create or replace function pg_catalog.len(text) returns int language sql immutable strict as $f$ select length(rtrim($1)) $f$;
create or replace function pg_catalog.charindex(text, text) returns int language sql immutable strict as $f$ select strpos($2, $1) $f$;
create or replace function pg_catalog.strtol(text, int) returns bigint language plpgsql immutable strict as $f$
declare total bigint := 0; digit text;
begin
    foreach digit in array string_to_array(lower($1), null) loop
        total := total * $2 + strpos('0123456789abcdefghijklmnopqrstuvwxyz', digit) - 1;
    end loop;
    return total;
end $f$;
create or replace function pg_catalog.sha2(text, int) returns varchar language sql immutable strict as $f$
    select case when $2 in (0, 256) then encode(sha256(convert_to($1, 'UTF8')), 'hex')
        when $2 = 512 then encode(sha512(convert_to($1, 'UTF8')), 'hex') end $f$;
create or replace function pg_catalog.redshift_version() returns varchar language sql stable as
$f$ select 'PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 (Red Hat 3.4.2-6.fc3), Redshift 1.0.117891'::varchar $f$;

-- Views that drivers, dbt and SQLAlchemy ask
create or replace function pg_catalog.pg_get_late_binding_view_cols() returns setof record language sql stable as
$f$ select ''::name, ''::name, ''::name, ''::varchar, 0 where false $f$;
create or replace view pg_catalog.svv_tables as
select table_catalog::varchar, table_schema::varchar, table_name::varchar, table_type::varchar, ''::varchar as remarks
from information_schema.tables;
create or replace view pg_catalog.svv_columns as
select
    table_catalog::varchar, table_schema::varchar, table_name::varchar, column_name::varchar, ordinal_position::int,
    column_default::varchar, is_nullable::varchar,
    (case when domain_name = 'super' then 'super' else data_type end)::varchar as data_type,
    character_maximum_length::int, numeric_precision::int, numeric_scale::int, datetime_precision::int,
    ''::varchar as remarks
from information_schema.columns;
create or replace view pg_catalog.svv_external_columns as
select
    ''::varchar as schemaname, ''::varchar as tablename, ''::varchar as columnname, ''::varchar as external_type,
    0 as columnnum, 0 as part_key, ''::varchar as is_nullable
where false;
create or replace view pg_catalog.svv_external_tables as
select ''::varchar as schemaname, ''::varchar as tablename, ''::varchar as location where false;
create or replace view pg_catalog.svv_external_schemas as select ''::varchar as schemaname where false;
create or replace view pg_catalog.svv_table_info as
select
    current_database()::varchar as "database", n.nspname::varchar as "schema", c.oid::int as table_id,
    c.relname::varchar as "table", 'Y'::varchar as encoded,
    coalesce('KEY(' || (regexp_match(l.layout, 'distkey\s*\(?\s*"?(\w+)'))[1] || ')', upper((regexp_match(l.layout, 'diststyle (\w+)'))[1]), 'AUTO(ALL)')::varchar as diststyle,
    coalesce((regexp_match(l.layout, 'sortkey\s*\(\s*"?(\w+)'))[1], 'AUTO(SORTKEY)')::varchar as sortkey1,
    0 as max_varchar, ''::varchar as sortkey1_enc,
    coalesce(array_length(string_to_array((regexp_match(l.layout, 'sortkey\s*\(([^)]*)\)'))[1], ','), 1), 0) as sortkey_num,
    greatest(1, pg_relation_size(c.oid) / 1048576)::bigint as "size", 0::numeric(10, 4) as pct_used, 0::bigint as empty,
    null::numeric(5, 2) as unsorted, 0::numeric(5, 2) as stats_off, greatest(c.reltuples, 0)::numeric(38, 0) as tbl_rows,
    null::numeric(19, 2) as skew_sortkey1, null::numeric(19, 2) as skew_rows
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
left join pg_catalog.redshift_layout as l on c.oid = l.relation
where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema');
create or replace view pg_catalog.svv_relation_privileges as
select
    n.nspname::varchar as namespace_name, c.relname::varchar as relation_name, a.privilege_type::varchar,
    coalesce(r.rolname, 'public')::varchar as identity_name,
    (case when r.oid is null then 'public' when r.rolcanlogin then 'user' else 'role' end)::varchar as identity_type,
    a.is_grantable as admin_option
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
cross join lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) as a
left join pg_roles as r on a.grantee = r.oid
where c.relkind in ('r', 'v') and n.nspname not in ('pg_catalog', 'information_schema');
create or replace view pg_catalog.svv_roles as
select oid::int as role_id, rolname::varchar as role_name, ''::varchar as role_owner from pg_roles where not rolcanlogin and rolname !~ '^pg_';
create or replace view pg_catalog.svv_user_grants as
select m.member::int as user_id, u.rolname::varchar as user_name, r.oid::int as role_id, r.rolname::varchar as role_name, m.admin_option
from pg_auth_members as m inner join pg_roles as u on m.member = u.oid and u.rolcanlogin inner join pg_roles as r on m.roleid = r.oid and not r.rolcanlogin;
create or replace view pg_catalog.svv_role_grants as
select u.oid::int as role_id, u.rolname::varchar as role_name, r.oid::int as granted_role_id, r.rolname::varchar as granted_role_name
from pg_auth_members as m inner join pg_roles as u on m.member = u.oid and not u.rolcanlogin inner join pg_roles as r on m.roleid = r.oid and not r.rolcanlogin;
create or replace view pg_catalog.stv_inflight as
select usesysid::int as userid, 0 as slice, 0 as query, ''::varchar as label, xact_start::timestamp as starttime, query::varchar as text, pid
from pg_stat_activity where state = 'active';
create or replace view pg_catalog.stv_sessions as
select backend_start::timestamp as starttime, pid as process, usename::varchar as user_name, datname::varchar as db_name
from pg_stat_activity where datname is not null;
grant select on
pg_catalog.svv_tables, pg_catalog.svv_columns, pg_catalog.svv_external_columns, pg_catalog.svv_external_tables,
pg_catalog.svv_external_schemas, pg_catalog.svv_table_info, pg_catalog.svv_relation_privileges, pg_catalog.svv_roles,
pg_catalog.svv_user_grants, pg_catalog.svv_role_grants, pg_catalog.stv_inflight, pg_catalog.stv_sessions
to public;
