import { createService } from './service.js';

const port = Number(process.env.PORT ?? 8080);
const server = createService(process.env).listen(port, () => console.log(`listening on port ${port}`));
process.on('SIGTERM', () => server.close());
