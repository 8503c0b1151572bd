ALTER TABLE tasks ADD COLUMN state text NULL;
COMMENT ON COLUMN tasks.state IS 'Checkpoints and completed steps, JSON';
