-- Stored comparisons of models and large-model providers: what `medley evaluate` measured.
CREATE TABLE evaluations (
    tenant     TEXT   COLLATE "C" NOT NULL DEFAULT 'default',
    id         TEXT   COLLATE "C" NOT NULL,
    -- JSON: what was compared, how, and what came out; `fusion` holds the weights of providers.
    report     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX evaluations_by_time ON evaluations (tenant, created_at, id);
