ALTER TABLE tasks ADD COLUMN created_by text NULL;
COMMENT ON COLUMN tasks.created_by IS 'Reference of the user''s entity';
