ALTER TABLE tasks ADD COLUMN secrets text NULL;
COMMENT ON COLUMN tasks.secrets IS 'The task''s secrets while it needs them, JSON';
