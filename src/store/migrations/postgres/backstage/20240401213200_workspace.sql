ALTER TABLE tasks ADD COLUMN workspace bytea NULL;
COMMENT ON COLUMN tasks.workspace IS 'The workspace as an archive';
