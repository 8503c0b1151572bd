CREATE TABLE understudy_locations (
  id text NOT NULL PRIMARY KEY,
  type text NOT NULL,
  target text NOT NULL,
  created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE (type, target)
);
CREATE TABLE understudy_entities (
  entity_ref text NOT NULL,
  location text NOT NULL,
  origin text NOT NULL,
  entity text NOT NULL,
  PRIMARY KEY (origin, entity_ref)
);
