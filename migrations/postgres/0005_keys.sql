-- API keys: a second secret while the first is being replaced, limits, and how much of them is used. An id names one key across all tenants.
ALTER TABLE api_keys
    -- The secret before this one, and until when it is good as well (both or neither).
    ADD COLUMN previous_hash  BYTEA,
    ADD COLUMN previous_until BIGINT,
    -- Requests a minute, and requests a day (UTC); NULL: as many as come.
    ADD COLUMN rate  BIGINT,
    ADD COLUMN quota BIGINT,
    -- How many requests all services have counted on this day since 1970; kept for keys with a quota only.
    ADD COLUMN used_day BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN used     BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX api_keys_by_id ON api_keys (id);
