-- Operators' accounts: what each may do, and what it takes to make its login again at a broker that lost it.
CREATE TABLE accounts (
    name        TEXT PRIMARY KEY NOT NULL,
    role        TEXT NOT NULL,
    -- Not 0 when it cannot log in.
    disabled    INTEGER NOT NULL DEFAULT 0,
    -- Nonce, then the password in AES-256-GCM, then the tag. NULL where it is not known: that of the first
    -- operator until it is given another.
    password    BLOB,
    -- Names the password; stands beside the login at the broker.
    password_id TEXT,
    -- Milliseconds since 1970, and who; NULL of the first operator.
    created_at  INTEGER,
    created_by  TEXT,
    -- The last change: when, by whom, and by which request of the journal.
    changed_at  INTEGER NOT NULL,
    changed_by  TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    -- Not 0 when it is gone, or to go: kept for as long as its request may be taken up again.
    removed     INTEGER NOT NULL DEFAULT 0,
    -- Not 0 when the last change is at the broker.
    applied     INTEGER NOT NULL DEFAULT 0
) STRICT;
