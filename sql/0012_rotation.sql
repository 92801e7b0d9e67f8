-- New credentials in the place of old ones, while jobs call.

ALTER TABLE credentials ADD COLUMN previous_sealed text, ADD COLUMN rotated_at timestamptz;
COMMENT ON COLUMN credentials.previous_sealed IS 'What the last `longshore integration rotate` replaced, encrypted alike; --back puts it in force again.';
COMMENT ON COLUMN credentials.rotated_at IS 'When that was; NULL: never.';

ALTER TABLE integrations ADD COLUMN credential_version bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN integrations.credential_version IS 'Grows when the credentials are changed: workers then drop what they remember of them.';
