-- Catalogue, behaviour, models, jobs and keys: the same tables as on Postgres, where their columns are explained.
-- Text is compared by its bytes here anyway; a BOOLEAN is an INTEGER, 0 or 1.

CREATE TABLE items (
    tenant      TEXT    NOT NULL DEFAULT 'default',
    id          TEXT    NOT NULL,
    domain      TEXT    NOT NULL,
    fields      TEXT,
    search_text TEXT    NOT NULL,
    revision    INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT;
CREATE UNIQUE INDEX items_by_revision ON items (tenant, revision);
CREATE INDEX items_by_domain ON items (tenant, domain, id) WHERE fields IS NOT NULL;

-- AUTOINCREMENT: without it, the place of an erased event would be given out again.
CREATE TABLE events (
    sequence          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    tenant            TEXT    NOT NULL DEFAULT 'default',
    user_id           TEXT    NOT NULL,
    item_id           TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    value             REAL,
    at                INTEGER NOT NULL,
    event_id          TEXT,
    recommendation_id TEXT,
    position          INTEGER
) STRICT;
CREATE UNIQUE INDEX events_by_event_id ON events (tenant, event_id) WHERE event_id IS NOT NULL;
CREATE INDEX events_by_user ON events (tenant, user_id, at, sequence, item_id, kind, value);

CREATE TABLE erased (
    tenant   TEXT    NOT NULL DEFAULT 'default' PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT;

CREATE TABLE models (
    tenant       TEXT    NOT NULL DEFAULT 'default',
    version      TEXT    NOT NULL,
    manifest     TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    active       INTEGER NOT NULL DEFAULT FALSE,
    activated_at INTEGER,
    PRIMARY KEY (tenant, version)
) STRICT;
CREATE UNIQUE INDEX models_one_active ON models (tenant) WHERE active;

CREATE TABLE jobs (
    tenant     TEXT    NOT NULL DEFAULT 'default',
    id         TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    phase      TEXT    NOT NULL,
    progress   REAL    NOT NULL,
    log        TEXT    NOT NULL,
    result     TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT;
CREATE UNIQUE INDEX jobs_one_running ON jobs (tenant, kind) WHERE state = 'running';

CREATE TABLE api_keys (
    tenant      TEXT    NOT NULL DEFAULT 'default',
    id          TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    secret_hash BLOB    NOT NULL,
    scopes      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER,
    PRIMARY KEY (tenant, id)
) STRICT;
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (secret_hash);

-- Without statistics, SQLite takes a tenant for one of many: it would rather read and sort all of one tenant's events than
-- go along the log. These are the numbers ANALYZE would write: rows, then rows alike in the first column, the first two, ...
ANALYZE sqlite_schema;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('events', 'events_by_user', '1000000 1000000 100 1 1 1 1 1'),
    ('events', 'events_by_event_id', '1000000 1000000 1');
