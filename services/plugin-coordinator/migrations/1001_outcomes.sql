-- What came of an operation, as JSON: see `Outcome` in src/registrations.rs. NULL while it runs, and for those
-- that an earlier version ended.
ALTER TABLE operations ADD COLUMN outcome TEXT;
