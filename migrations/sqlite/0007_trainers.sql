-- Who trains: the same table and columns as on Postgres, where they are explained.
CREATE TABLE trainers (
    tenant TEXT    NOT NULL PRIMARY KEY,
    epoch  INTEGER NOT NULL
) STRICT;
ALTER TABLE models ADD COLUMN epoch INTEGER;
ALTER TABLE jobs ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN trainers INTEGER NOT NULL DEFAULT 1;
