import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import { createService } from '../src/service.js';

async function answerTo(path, settings = {}) {
  const server = createService(settings).listen(0);
  await once(server, 'listening');
  try {
    const response = await fetch(`http://localhost:${server.address().port}${path}`);
    return { status: response.status, body: await response.json() };
  } finally {
    server.close();
  }
}

test('says that it is well', async () => {
  assert.deepEqual(await answerTo('/healthz'), { status: 200, body: { status: 'ok' } });
});

test('says which bucket it uses', async () => {
  const { body } = await answerTo('/', { BUCKET_bucket: 'photos', BUCKET_region: ${{ values.region | dump }} });
  assert.deepEqual(body.bucket, { name: 'photos', region: ${{ values.region | dump }} });
});

test('answers 404 where nothing is', async () => {
  assert.equal((await answerTo('/elsewhere')).status, 404);
});
