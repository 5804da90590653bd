-- Schemas, roles and bookkeeping of the warehouse. Idempotent: run it again after an upgrade.
-- One role per step, each with what that step needs and no more; passwords are set by bootstrap.py.

do $$
declare role_name text;
begin
    foreach role_name in array array[
        'sluice_loader', 'sluice_transformer', 'sluice_gate', 'sluice_publisher', 'sluice_reporter', 'analyst',
        'pii_reader', 'operator'
    ] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I login', role_name);
        end if;
        -- schemas are handed to these roles below, which needs membership where the owner is no superuser (RDS); since
        -- Postgres 16 who makes a role is a member of it without its rights
        if not pg_has_role(current_user, role_name, 'usage') then
            execute format('grant %I to current_user', role_name);
        end if;
    end loop;
    execute format('revoke all on database %I from public', current_database());
    execute format(
        'grant connect, temporary on database %I to '
        'sluice_loader, sluice_transformer, sluice_gate, sluice_publisher, sluice_reporter, analyst, pii_reader, operator',
        current_database()
    );
    -- a schema's new owner must be allowed to own one in this database
    execute format('grant create on database %I to sluice_loader, sluice_transformer, sluice_publisher', current_database());
end $$;

revoke all on schema public from public;

create schema if not exists raw;
create schema if not exists staging;
create schema if not exists marts;
create schema if not exists analytics;
create schema if not exists personal;
create schema if not exists quarantine;
create schema if not exists ops;

alter schema raw owner to sluice_loader;
alter schema quarantine owner to sluice_loader;
alter schema staging owner to sluice_transformer;
alter schema marts owner to sluice_transformer;
alter schema analytics owner to sluice_publisher;
alter schema personal owner to sluice_publisher; -- published marts with personal columns: read through masks, in analytics

do $$
begin
    execute format(
        'revoke create on database %I from sluice_loader, sluice_transformer, sluice_publisher', current_database()
    );
end $$;

grant usage on schema raw to sluice_transformer, sluice_gate;
grant usage on schema staging to sluice_gate;
grant usage on schema marts to sluice_gate, sluice_publisher;
grant usage on schema analytics to analyst, pii_reader, operator;
grant analyst to sluice_reporter; -- what analysts may see, and nothing more, can stand in a mail
grant usage on schema quarantine to operator, sluice_gate;
grant usage on schema ops to sluice_loader, sluice_transformer, sluice_gate, sluice_publisher, sluice_reporter, operator;

-- tables that exist, and those to come
grant select on all tables in schema raw to sluice_transformer, sluice_gate;
grant select on all tables in schema staging to sluice_gate;
grant select on all tables in schema marts to sluice_gate, sluice_publisher;
grant select on all tables in schema quarantine to operator, sluice_gate;
alter default privileges for role sluice_loader in schema raw grant select on tables to sluice_transformer, sluice_gate;
alter default privileges for role sluice_loader in schema quarantine grant select on tables to operator, sluice_gate;
alter default privileges for role sluice_transformer in schema staging grant select on tables to sluice_gate;
alter default privileges for role sluice_transformer in schema marts grant select on tables to sluice_gate, sluice_publisher;
alter default privileges for role sluice_loader, sluice_transformer, sluice_publisher
revoke execute on functions from public;
-- publish says who reads what it publishes: a new table is nobody's until then
alter default privileges for role sluice_publisher in schema analytics revoke select on tables from analyst, operator;

create table if not exists ops.landing (
    landing_id bigint primary key,
    source text not null,
    entity text not null,
    "partition" text not null,
    uri text not null unique,
    sha256 text not null,
    bytes bigint not null,
    records bigint,
    request jsonb not null,
    refused jsonb not null default '[]',
    fetched_at timestamptz not null,
    dag_run_id text not null,
    loaded_at timestamptz,
    loaded_rows bigint,
    superseded_by bigint references ops.landing (landing_id),
    published_at timestamptz
);
create index if not exists landing_by_partition on ops.landing (source, entity, "partition", landing_id desc);
comment on table ops.landing is 'One row per landing: what was fetched, where it lies in S3, and how far it has come.';
comment on column ops.landing.landing_id is 'Start of the landing in microseconds since 1970-01-01 UTC; rows carry it as _landing_id.';
comment on column ops.landing."partition" is 'What the landing covers: a month (2024-01), an hour (2026-11-21T13), or all.';
comment on column ops.landing.uri is 'S3 folder of the parts and the manifest.';
comment on column ops.landing.sha256 is 'Hash of the content; equal content has an equal hash.';
comment on column ops.landing.request is 'What was asked, without secrets.';
comment on column ops.landing.refused is 'Requests that the API refused one by one while the others went on.';
comment on column ops.landing.superseded_by is 'The later landing of the same partition whose rows took the place of this one''s.';

create table if not exists ops.landing_part (
    landing_id bigint not null references ops.landing (landing_id),
    part text not null,
    uri text not null,
    first_row bigint not null,
    row_count bigint not null,
    primary key (landing_id, part)
);
comment on table ops.landing_part is 'Which rows of a loaded landing came from which of its objects.';
comment on column ops.landing_part.first_row is 'The part''s rows have a _row from here on.';
comment on column ops.landing_part.row_count is 'Rows of the part, those in quarantine included.';

create table if not exists ops.gate_result (
    gate_result_id bigint generated always as identity primary key,
    source text not null,
    layer text not null check (layer in ('landing', 'raw', 'staging', 'marts')),
    dag_run_id text not null,
    landing_ids bigint [] not null,
    table_name text not null,
    expectation text not null,
    column_name text,
    arguments jsonb not null,
    on_failure text not null,
    success boolean not null,
    rows_checked bigint,
    rows_unexpected bigint,
    observed text,
    message text not null,
    checked_at timestamptz not null default now()
);
-- a database of an earlier version knew fail and warn alone
alter table ops.gate_result drop constraint if exists gate_result_on_failure_check;
alter table ops.gate_result add constraint gate_result_on_failure_check check (on_failure in ('fail', 'warn', 'quarantine'));
create index if not exists gate_result_by_run on ops.gate_result (source, dag_run_id, layer);
create index if not exists gate_result_by_time on ops.gate_result (source, checked_at desc);
comment on table ops.gate_result is 'One row per expectation a gate has checked: the verdict, counts, never values of rows.';

create table if not exists ops.publication (
    publication_id bigint generated always as identity primary key,
    source text not null,
    dag_run_id text not null,
    model text not null,
    landing_ids bigint [] not null,
    rows_deleted bigint not null,
    rows_inserted bigint not null,
    published_at timestamptz not null default now()
);
create index if not exists publication_by_run on ops.publication (source, dag_run_id);
alter table ops.publication add column if not exists changes text [] not null default '{}';
comment on column ops.publication.changes is 'What publish changed of the model''s columns, types, key, masks or place, in words.';
alter table ops.publication add column if not exists slices jsonb;
create index if not exists publication_by_model on ops.publication (model, publication_id);
comment on column ops.publication.slices is 'Which slices of the model rows were moved in (slices.py); null: all of them.';
comment on table ops.publication is 'One row per model and publish: what moved to analytics, when, from which landings.';

create table if not exists ops.export_mark (
    target text not null,
    model text not null,
    publication_id bigint not null,
    "rows" bigint not null default 0,
    exported_at timestamptz not null default now(),
    primary key (target, model)
);
comment on table ops.export_mark is 'How far copies of published marts have come (exports.py): what was published later is not there yet.';
comment on column ops.export_mark.target is 'Where the copy is: lake, or the connection of a mirror.';
comment on column ops.export_mark.model is 'The mart; or landing/<source>, whose landings the lake''s catalogue holds.';
comment on column ops.export_mark.publication_id is 'The last publication that the copy holds.';
comment on column ops.export_mark."rows" is 'Rows written by the last export.';

create table if not exists ops.cursor_mark (
    source text not null,
    entity text not null,
    request jsonb not null,
    day date not null,
    value text not null,
    landing_id bigint not null references ops.landing (landing_id),
    primary key (source, entity, request, day)
);
comment on table ops.cursor_mark is 'How far an entity is loaded: the greatest value of its cursor for each request and day of the records.';
comment on column ops.cursor_mark.request is 'Values of the request''s variables, as _request in raw.';
comment on column ops.cursor_mark.day is 'Day of the records (UTC); 0001-01-01 where source.yml has no look_back.';
comment on column ops.cursor_mark.value is 'The greatest value, as it stands in the record.';

create table if not exists ops.loaded_file (
    source text not null,
    entity text not null,
    uri text not null,
    etag text not null,
    landing_id bigint not null references ops.landing (landing_id),
    primary key (source, entity, uri, etag)
);
comment on table ops.loaded_file is 'Files of the drop zone that are in raw: each is loaded once, and again when its content changes.';

create table if not exists ops.attempt (
    task text primary key,
    number int not null,
    entered_at timestamptz not null default now()
);
comment on table ops.attempt is 'The try of each task that may commit: what an earlier one still does is refused (fence.py).';
comment on column ops.attempt.task is 'dag_id/run_id/task_id.';

create table if not exists ops.turn (
    source text primary key,
    dag_run_id text not null,
    taken_at timestamptz not null default now()
);
comment on table ops.turn is 'The run that builds and publishes the models of a source; it holds the turn until it has ended (turn.py).';

create table if not exists ops.erasure (
    erasure_id bigint generated always as identity primary key,
    source text not null,
    pseudonym text not null unique,
    erased_by text not null,
    begun_at timestamptz not null default now(),
    finished_at timestamptz,
    objects bigint not null default 0,
    records bigint not null default 0,
    "rows" bigint not null default 0,
    tables bigint not null default 0,
    places_searched bigint,
    salt bytea,
    working bytea
);
comment on table ops.erasure is 'Persons erased: how much, when, by whom. Not who: nothing here leads to the person once finished_at is set.';
comment on column ops.erasure.pseudonym is 'What stands in the place of the person; random.';
comment on column ops.erasure.objects is 'Objects in S3 rewritten or deleted.';
comment on column ops.erasure.working is 'Until it is finished: what to search for, encrypted with a key made of the person''s value, so that who goes on after a crash must know it.';

-- Values of a person out of the bookkeeping, which should hold none: one left in a message or a request is replaced.
create or replace function ops.erase_text(patterns text [], replacement text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp -- pg_temp last: see ops.quarantined
as $$
declare
    place record;
    one text;
    found bigint;
    total bigint := 0;
begin
    if replacement !~ '^erased(-[0-9a-f]{32})?$' then
        raise exception 'ops.erase_text puts nothing but a pseudonym in the place of a value';
    end if;
    for place in
        select c.relname, a.attname, format_type(a.atttypid, a.atttypmod) as kind
        from pg_class as c
        inner join pg_attribute as a on c.oid = a.attrelid
        where c.relnamespace = 'ops'::regnamespace and c.relkind = 'r' and c.relname <> 'erasure'
        and a.attnum > 0 and not a.attisdropped and a.atttypid in ('text'::regtype, 'jsonb'::regtype)
    loop
        foreach one in array patterns loop
            execute format(
                'update ops.%1$I set %2$I = regexp_replace(%2$I::text, $1, $2, ''g'')::%3$s where %2$I::text ~ $1',
                place.relname, place.attname, place.kind
            ) using one, replacement;
            get diagnostics found = row_count;
            total := total + found;
        end loop;
    end loop;
    return total;
end $$;
revoke all on function ops.erase_text(text [], text) from public;
grant execute on function ops.erase_text(text [], text) to sluice_loader;

-- How many rows of a landing are in quarantine, for those who may not see the rows.
create or replace function ops.quarantined(landing_ids bigint [])
returns table (landing_id bigint, quarantined_rows bigint)
-- pg_temp is named, last: else it would be searched first, and a caller's own pg_class would run with the definer's rights
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare quarantine_table regclass;
begin
    for quarantine_table in
        select c.oid
        from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        inner join pg_attribute as a on c.oid = a.attrelid
        where n.nspname = 'quarantine' and a.attname = '_landing_id' and c.relkind in ('r', 'p') and not c.relispartition
    loop
        return query execute format(
            'select _landing_id, count(*) from %s where _landing_id = any($1) group by _landing_id', quarantine_table
        ) using landing_ids;
    end loop;
end $$;
-- it runs as who owns the quarantine, not as who has bootstrapped
grant create on schema ops to sluice_loader;
alter function ops.quarantined(bigint []) owner to sluice_loader;
revoke create on schema ops from sluice_loader;
revoke all on function ops.quarantined(bigint []) from public;
grant execute on function ops.quarantined(bigint []) to sluice_reporter, operator;

grant select on all tables in schema ops to sluice_gate, sluice_publisher, sluice_reporter, sluice_loader, operator;
grant insert, update on ops.landing to sluice_loader;
grant insert, update on ops.cursor_mark, ops.loaded_file to sluice_loader;
grant insert, update, delete on ops.landing_part to sluice_loader;
grant insert, update on ops.erasure to sluice_loader;
revoke select on ops.erasure from sluice_gate, sluice_publisher, sluice_reporter, operator;
grant select (
    erasure_id, source, pseudonym, erased_by, begun_at, finished_at, objects, records, "rows", tables, places_searched
) on ops.erasure to sluice_reporter, operator;
grant insert, update on ops.attempt to sluice_loader, sluice_publisher;
grant insert, update on ops.turn to sluice_loader;
grant update (taken_at) on ops.turn to sluice_publisher; -- to lock the row, which it leaves as it is
grant delete on ops.attempt to sluice_loader; -- maintenance forgets runs of long ago
grant select on ops.landing to sluice_transformer;
grant update (published_at) on ops.landing to sluice_publisher;
grant insert on ops.gate_result to sluice_gate;
grant insert on ops.publication to sluice_publisher;
grant insert, update on ops.export_mark to sluice_reporter; -- who copies what analysts see
