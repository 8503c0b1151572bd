import { createServer } from 'node:http';

/** The service; `settings` are the environment's variables. */
export function createService(settings) {
  return createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const answer = routes[pathname];
    response.setHeader('content-type', 'application/json');
    response.statusCode = answer ? 200 : 404;
    response.end(JSON.stringify(answer ? answer(settings) : { error: 'there is nothing here' }) + '\n');
  });
}

const routes = {
  '/healthz': () => ({ status: 'ok' }),
  '/': settings => ({
    service: ${{ values.name | dump }},
    owner: ${{ values.owner | dump }},
    bucket: { name: settings.BUCKET_bucket ?? null, region: settings.BUCKET_region ?? null },
  }),
};
