-- API keys: a second secret, limits and use; the same columns as on Postgres, where they are explained.
ALTER TABLE api_keys ADD COLUMN previous_hash BLOB;
ALTER TABLE api_keys ADD COLUMN previous_until INTEGER;
ALTER TABLE api_keys ADD COLUMN rate INTEGER;
ALTER TABLE api_keys ADD COLUMN quota INTEGER;
ALTER TABLE api_keys ADD COLUMN used_day INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX api_keys_by_id ON api_keys (id);
