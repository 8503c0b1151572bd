'use strict';
// A web site that templates read from, and whose answers the tour decides about while they run.
const http = require('node:http');

/** Starts it on a free port of 127.0.0.1, or on the given one. */
async function startSite(port = 0) {
  const pages = new Map();
  const waiting = new Map();
  const server = http.createServer((request, response) => {
    const answer = text => response.writeHead(200, { 'content-type': 'text/plain' }).end(text);
    if (pages.has(request.url)) {
      answer(pages.get(request.url));
    } else if (waiting.has(request.url)) {
      waiting.get(request.url).push(answer);
    } else {
      response.writeHead(404).end('not here (yet)');
    }
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${server.address().port}`;
  return {
    url: path => base + path,
    /** Serves a text. */
    publish: (path, text) => void pages.set(path, text),
    /** Whoever asks for this path waits until it is opened. */
    gate: path => void waiting.set(path, []),
    /** Answers those who wait at a gate, and from now on everybody at once. */
    open(path) {
      const text = 'open';
      pages.set(path, text);
      for (const answer of waiting.get(path) ?? []) answer(text);
      waiting.delete(path);
    },
    stop() {
      server.closeAllConnections();
      return new Promise(resolve => server.close(resolve));
    },
  };
}

module.exports = { startSite };
