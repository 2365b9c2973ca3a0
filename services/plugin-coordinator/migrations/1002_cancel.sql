-- Who asked for the end of an operation that runs. Beside its record, which the plugin's worker writes.
ALTER TABLE operations ADD COLUMN cancelled_by TEXT;
