-- Who asked for what, and what came of it. It holds nothing of a request's payload but what it was asked on.
CREATE TABLE audit (
    -- AUTOINCREMENT: a number that was given is never given again, so pages stay what they are.
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    at              INTEGER NOT NULL,
    principal       TEXT NOT NULL,
    operation       TEXT NOT NULL,
    target          TEXT,
    result          TEXT NOT NULL,
    code            TEXT,
    message         TEXT,
    correlation_id  TEXT NOT NULL,
    times           INTEGER NOT NULL DEFAULT 1,
    -- The row in requests while its outcome is not known.
    request_id      TEXT
) STRICT;
CREATE INDEX audit_by_principal ON audit (principal);
-- What a further refusal is counted on.
CREATE INDEX audit_refused ON audit (principal, operation, code, target) WHERE result = 'refused';
CREATE UNIQUE INDEX audit_open ON audit (request_id) WHERE request_id IS NOT NULL;
