-- Lists are filtered by template. The last such member is the task's own: parameters come before it. A cast to JSON could
-- fail, and other writers must not.
CREATE INDEX understudy_tasks_template_idx ON tasks (
  (substring(spec from '.*"templateInfo":{"entityRef":"([^"\\]+)"')), created_at, id
);
