-- What admins did. Rows are only ever added.
CREATE TABLE audit (
    tenant     TEXT   COLLATE "C" NOT NULL DEFAULT 'default',
    sequence   BIGINT GENERATED ALWAYS AS IDENTITY,
    at         BIGINT NOT NULL,
    -- The id of the API key; `configuration`, `anyone` or `command`.
    actor      TEXT   COLLATE "C" NOT NULL,
    act        TEXT   COLLATE "C" NOT NULL,
    -- The key, item or version that it was done to; of people a pseudonym where behaviour is encrypted, and nothing where it is not.
    subject    TEXT   COLLATE "C" NOT NULL,
    request_id TEXT,
    PRIMARY KEY (tenant, sequence)
);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
