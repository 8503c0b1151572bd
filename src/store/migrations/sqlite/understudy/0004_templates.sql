-- Lists are filtered by template. Only valid JSON has one; other writers must not fail on anything else.
CREATE INDEX understudy_tasks_template_idx ON tasks (
  CASE WHEN json_valid(spec) THEN json_extract(spec, '$.templateInfo.entityRef') END, created_at
);
