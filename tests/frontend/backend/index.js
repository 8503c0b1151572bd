'use strict';
// The Backstage backend that the service stands beside: everything a portal needs but the scaffolder, which it does not install.
const { createBackend } = require('@backstage/backend-defaults');

const backend = createBackend();
for (const feature of [
  '@backstage/plugin-app-backend',
  '@backstage/plugin-auth-backend',
  '@backstage/plugin-auth-backend-module-guest-provider',
  '@backstage/plugin-catalog-backend',
  '@backstage/plugin-catalog-backend-module-scaffolder-entity-model',
  '@backstage/plugin-catalog-backend-module-logs',
  '@backstage/plugin-permission-backend',
  './colleagues',
  './policy',
]) {
  backend.add(require(feature).default);
}
backend.start();
