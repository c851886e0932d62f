-- Vectors of texts by embeddings providers: the same table as on Postgres, where its columns are explained.
CREATE TABLE text_vectors (
    tenant     TEXT    NOT NULL DEFAULT 'default',
    provider   TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    revision   TEXT    NOT NULL,
    dimensions INTEGER NOT NULL,
    text_hash  BLOB    NOT NULL,
    vector     BLOB    NOT NULL,
    PRIMARY KEY (tenant, provider, model, revision, dimensions, text_hash)
) STRICT, WITHOUT ROWID;
