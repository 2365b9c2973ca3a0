-- To find the oldest requests of one plugin.
CREATE INDEX requests_by_principal ON requests (principal, received_at);
