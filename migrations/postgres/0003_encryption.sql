-- Keys of encryption at rest; both tables are empty in a store that is not encrypted.

-- The tenant's key, sealed under the operator's master key. Where there is one, all behaviour is sealed.
CREATE TABLE tenant_keys (
    tenant TEXT  COLLATE "C" NOT NULL PRIMARY KEY,
    sealed BYTEA NOT NULL
);

-- Whoever has done something, under a pseudonym: the key of their events and their id, sealed under the tenant's key. `events.user_id` is the
-- pseudonym then, `events.item_id` the whole event, sealed, and `events.event_id` a pseudonym as well. Without the row, the events say nothing to anybody.
CREATE TABLE people (
    tenant  TEXT  COLLATE "C" NOT NULL DEFAULT 'default',
    user_id TEXT  COLLATE "C" NOT NULL,
    sealed  BYTEA NOT NULL,
    PRIMARY KEY (tenant, user_id)
);
