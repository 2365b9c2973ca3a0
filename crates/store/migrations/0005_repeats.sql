-- How often a request was repeated after it had its response. A delivery that began before a repeat is not
-- the one that the repeat is owed.
ALTER TABLE requests ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
