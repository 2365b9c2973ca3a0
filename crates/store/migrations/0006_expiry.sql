-- When a request is not carried out any more that has not been begun, as it was found at the door. NULL in rows of
-- before: these are as old as they are, and say no more.
ALTER TABLE requests ADD COLUMN expires_at INTEGER;
