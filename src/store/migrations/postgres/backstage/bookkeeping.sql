CREATE TABLE IF NOT EXISTS knex_migrations (
  id serial NOT NULL PRIMARY KEY,
  name varchar(255),
  batch integer,
  migration_time timestamptz
);
CREATE TABLE IF NOT EXISTS knex_migrations_lock (
  index serial NOT NULL PRIMARY KEY,
  is_locked integer
);
INSERT INTO knex_migrations_lock (is_locked) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM knex_migrations_lock);
