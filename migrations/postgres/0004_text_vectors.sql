-- Vectors of texts, so that a text is sent to an embeddings provider once. What two models, revisions or lengths say is never mixed.
CREATE TABLE text_vectors (
    tenant     TEXT    COLLATE "C" NOT NULL DEFAULT 'default',
    provider   TEXT    COLLATE "C" NOT NULL,
    model      TEXT    COLLATE "C" NOT NULL,
    revision   TEXT    COLLATE "C" NOT NULL,
    dimensions INTEGER NOT NULL,
    -- SHA-256 of the text.
    text_hash  BYTEA   NOT NULL,
    -- As many numbers of four bytes, little-endian.
    vector     BYTEA   NOT NULL,
    PRIMARY KEY (tenant, provider, model, revision, dimensions, text_hash)
);
