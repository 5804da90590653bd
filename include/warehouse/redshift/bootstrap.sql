-- Schemas, bookkeeping and rights of a warehouse on Redshift. Idempotent: run it again after an upgrade.
-- Users and roles are there already (bootstrap.py makes them, for Redshift knows no `if not exists` of them).
-- The same tables as on Postgres (include/warehouse/bootstrap.sql, which describes them), but that Redshift enforces no
-- keys, so that uniqueness is the statements' own, and has SUPER in the place of jsonb and arrays.
-- One statement ends where a line ends with a semicolon.

create schema if not exists raw authorization sluice_loader;
create schema if not exists quarantine authorization sluice_loader;
create schema if not exists staging authorization sluice_transformer;
create schema if not exists marts authorization sluice_transformer;
create schema if not exists analytics authorization sluice_publisher;
create schema if not exists personal authorization sluice_publisher;
create schema if not exists ops;

revoke all on schema public from public;
revoke all on schema raw, quarantine, staging, marts, analytics, personal, ops from public;

grant usage on schema raw to sluice_transformer, sluice_gate;
grant usage on schema staging to sluice_gate;
grant usage on schema marts to sluice_gate, sluice_publisher;
grant usage on schema quarantine to sluice_gate, sluice_reporter, role operator;
grant usage on schema analytics to role analyst, role operator;
grant usage on schema ops to sluice_loader, sluice_transformer, sluice_gate, sluice_publisher, sluice_reporter, role operator;
grant role analyst to sluice_reporter;

-- tables to come; those that exist have had it from here
alter default privileges for user sluice_loader in schema raw grant select on tables to sluice_transformer, sluice_gate;
alter default privileges for user sluice_loader in schema quarantine grant select on tables to sluice_gate;
alter default privileges for user sluice_loader in schema quarantine grant select on tables to role operator;
alter default privileges for user sluice_transformer in schema staging grant select on tables to sluice_gate;
alter default privileges for user sluice_transformer in schema marts grant select on tables to sluice_gate, sluice_publisher;

-- who writes locks this first: see RedshiftSession.lock
create table if not exists ops.write_lock (
    is_locked boolean
);

create table if not exists ops.landing (
    landing_id bigint not null,
    source varchar(128) not null,
    entity varchar(128) not null,
    "partition" varchar(128) not null,
    uri varchar(2048) not null,
    sha256 varchar(64) not null,
    bytes bigint not null,
    records bigint,
    request super not null,
    refused super not null,
    fetched_at timestamptz not null,
    dag_run_id varchar(512) not null,
    loaded_at timestamptz,
    loaded_rows bigint,
    superseded_by bigint,
    published_at timestamptz
)
sortkey (landing_id);

create table if not exists ops.landing_part (
    landing_id bigint not null,
    part varchar(1024) not null,
    uri varchar(2048) not null,
    first_row bigint not null,
    row_count bigint not null
)
sortkey (landing_id);

create table if not exists ops.gate_result (
    gate_result_id bigint identity (1, 1),
    source varchar(128) not null,
    layer varchar(16) not null,
    dag_run_id varchar(512) not null,
    landing_ids super not null,
    table_name varchar(256) not null,
    expectation varchar(256) not null,
    column_name varchar(4096),
    arguments super not null,
    on_failure varchar(16) not null,
    success boolean not null,
    rows_checked bigint,
    rows_unexpected bigint,
    observed varchar(65535),
    message varchar(65535) not null,
    checked_at timestamptz not null
)
sortkey (source, checked_at);

create table if not exists ops.publication (
    publication_id bigint identity (1, 1),
    source varchar(128) not null,
    dag_run_id varchar(512) not null,
    model varchar(256) not null,
    landing_ids super not null,
    rows_deleted bigint not null,
    rows_inserted bigint not null,
    changes super not null,
    published_at timestamptz not null
);

create table if not exists ops.cursor_mark (
    source varchar(128) not null,
    entity varchar(128) not null,
    request varchar(65535) not null,
    "day" date not null,
    value varchar(65535) not null,
    landing_id bigint not null
);

create table if not exists ops.loaded_file (
    source varchar(128) not null,
    entity varchar(128) not null,
    uri varchar(2048) not null,
    etag varchar(256) not null,
    landing_id bigint not null
);

create table if not exists ops.attempt (
    task varchar(1024) not null,
    number integer not null,
    entered_at timestamptz not null
);

-- who sees personal columns in the clear: masks ask for the name, for USER_IS_MEMBER_OF is an error to who is no member
create table if not exists ops.pii_reader (
    user_name varchar(128) not null
);

create table if not exists ops.turn (
    source varchar(128) not null,
    dag_run_id varchar(512) not null,
    taken_at timestamptz not null
);

grant select on all tables in schema ops to sluice_gate, sluice_publisher, sluice_reporter, sluice_loader, role operator;
grant select on ops.landing to sluice_transformer;
-- a lock wants the right to write, and nobody does write it
grant update, delete on ops.write_lock to sluice_loader, sluice_publisher;
grant insert, update on ops.landing to sluice_loader;
grant insert, update, delete on ops.landing_part to sluice_loader;
grant insert, update, delete on ops.cursor_mark to sluice_loader;
grant insert, update, delete on ops.loaded_file to sluice_loader;
grant insert, update, delete on ops.attempt to sluice_loader;
grant insert, update on ops.attempt to sluice_publisher;
grant insert, update on ops.turn to sluice_loader;
grant update on ops.landing to sluice_publisher;
grant insert on ops.publication to sluice_publisher;
grant insert on ops.gate_result to sluice_gate;
