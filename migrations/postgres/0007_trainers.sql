-- Who trains: one process at a time for each tenant, held by a lock outside the tables. The epoch tells a trainer from the one that came after it.
CREATE TABLE trainers (
    tenant TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    -- Counts the trainers there have been: the newest one's number.
    epoch  BIGINT NOT NULL
);
-- The trainer that made it; NULL: made before trainers were counted.
ALTER TABLE models ADD COLUMN epoch BIGINT;
ALTER TABLE jobs
    -- The trainer that works on it.
    ADD COLUMN epoch    BIGINT NOT NULL DEFAULT 0,
    -- How many have worked on it.
    ADD COLUMN trainers BIGINT NOT NULL DEFAULT 1;
