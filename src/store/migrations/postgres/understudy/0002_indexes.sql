-- Claiming, the janitor and the lists filter and order by these; Backstage's own schema scans the table.
CREATE INDEX understudy_tasks_status_idx ON tasks (status, created_at, id);
CREATE INDEX understudy_tasks_created_by_idx ON tasks (created_by, created_at, id);
CREATE INDEX understudy_tasks_created_at_idx ON tasks (created_at, id);
-- Every read of a log asks for what is new, and for the completion.
CREATE INDEX understudy_task_events_idx ON task_events (task_id, id);
CREATE INDEX understudy_task_events_completion_idx ON task_events (task_id) WHERE event_type = 'completion';
