CREATE TABLE IF NOT EXISTS backstage_backend_public_keys__knex_migrations (
  id serial NOT NULL PRIMARY KEY,
  name varchar(255),
  batch integer,
  migration_time timestamptz
);
CREATE TABLE IF NOT EXISTS backstage_backend_public_keys__knex_migrations_lock (
  index serial NOT NULL PRIMARY KEY,
  is_locked integer
);
INSERT INTO backstage_backend_public_keys__knex_migrations_lock (is_locked)
  SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM backstage_backend_public_keys__knex_migrations_lock);
CREATE TABLE IF NOT EXISTS backstage_backend_public_keys__keys (
  id varchar(255) NOT NULL,
  key text NOT NULL,
  expires_at varchar(255) NOT NULL,
  CONSTRAINT backstage_backend_public_keys__keys_pkey PRIMARY KEY (id)
);
INSERT INTO backstage_backend_public_keys__knex_migrations (name, batch, migration_time)
  SELECT '20240327104803_public_keys.js', 1, now()
  WHERE NOT EXISTS (
    SELECT 1 FROM backstage_backend_public_keys__knex_migrations WHERE name = '20240327104803_public_keys.js'
  );
