CREATE TABLE IF NOT EXISTS tasks (
  id uuid NOT NULL,
  spec text NOT NULL,
  status text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  last_heartbeat_at timestamptz NULL,
  CONSTRAINT tasks_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE tasks IS 'Scaffolder tasks';
COMMENT ON COLUMN tasks.id IS 'UUID';
COMMENT ON COLUMN tasks.spec IS 'What to run, JSON';
COMMENT ON COLUMN tasks.status IS 'open, processing, completed, failed, cancelled or skipped';
COMMENT ON COLUMN tasks.created_at IS 'When it was created';
COMMENT ON COLUMN tasks.last_heartbeat_at IS 'The last sign of life of its worker';
CREATE TABLE IF NOT EXISTS task_events (
  id bigserial NOT NULL,
  task_id uuid NOT NULL,
  body text NOT NULL,
  event_type text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT task_events_pkey PRIMARY KEY (id),
  CONSTRAINT task_events_task_id_foreign FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
COMMENT ON TABLE task_events IS 'The logs of tasks';
COMMENT ON COLUMN task_events.id IS 'Ascending';
COMMENT ON COLUMN task_events.task_id IS 'Whose event it is';
COMMENT ON COLUMN task_events.body IS 'What happened, JSON';
COMMENT ON COLUMN task_events.event_type IS 'log, completion, cancelled or recovered';
COMMENT ON COLUMN task_events.created_at IS 'When it was stored';
CREATE INDEX IF NOT EXISTS task_events_task_id_idx ON task_events (task_id);
