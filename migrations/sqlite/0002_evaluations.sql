-- Stored comparisons of models and large-model providers: the same table as on Postgres, where its columns are explained.
CREATE TABLE evaluations (
    tenant     TEXT    NOT NULL DEFAULT 'default',
    id         TEXT    NOT NULL,
    report     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT;
CREATE INDEX evaluations_by_time ON evaluations (tenant, created_at, id);
