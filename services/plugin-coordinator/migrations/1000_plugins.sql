-- The plugin registry: one row for each installed plugin. `record` is JSON, see src/record.rs.
CREATE TABLE plugins (
    id       TEXT PRIMARY KEY NOT NULL,
    record   TEXT NOT NULL,
    -- Grows with each write: whoever writes says which one it has read, so that no write undoes another.
    revision INTEGER NOT NULL
) STRICT;

-- What belongs to one plugin alone: ids, aliases, names on the network, MQTT client ids.
CREATE TABLE names (
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    plugin_id TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT;
CREATE INDEX names_by_plugin ON names (plugin_id);

-- Operations that take longer than their handler. `record` is JSON, see src/operation.rs.
CREATE TABLE operations (
    id         TEXT PRIMARY KEY NOT NULL,
    plugin_id  TEXT NOT NULL,
    request_id TEXT NOT NULL UNIQUE,
    record     TEXT NOT NULL,
    ended_at   INTEGER
) STRICT;
-- At most one runs on a plugin.
CREATE UNIQUE INDEX operations_running ON operations (plugin_id) WHERE ended_at IS NULL;
CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL;
