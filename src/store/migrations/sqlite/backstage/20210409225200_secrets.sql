ALTER TABLE `tasks` ADD COLUMN `secrets` text NULL;
