-- For how long the key has been the active one, in seconds of time that passed: what the clock says can jump.
ALTER TABLE keys ADD COLUMN age_seconds INTEGER NOT NULL DEFAULT 0;
-- When the age was last counted, in milliseconds since 1970.
ALTER TABLE keys ADD COLUMN counted_at INTEGER;
-- Of a retiring key: when the last token that it signed has expired, in seconds since 1970.
ALTER TABLE keys ADD COLUMN until INTEGER;
-- The request that made the key the active one, when somebody asked: asked again it is not done again.
ALTER TABLE keys ADD COLUMN activated_by TEXT;
