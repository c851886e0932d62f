-- Keys of encryption at rest: the same tables as on Postgres, where they are explained.
CREATE TABLE tenant_keys (
    tenant TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE people (
    tenant  TEXT NOT NULL DEFAULT 'default',
    user_id TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (tenant, user_id)
) STRICT;
