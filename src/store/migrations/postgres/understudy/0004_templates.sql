-- Lists are filtered by template. The last such member is the task's own: parameters come before it. A cast to JSON could
-- fail, and so could an entry longer than an index takes; other writers must not.
CREATE INDEX understudy_tasks_template_idx ON tasks (
  (left(substring(spec from '.*"templateInfo":{"entityRef":"([^"\\]+)"'), 255)), created_at, id
);
