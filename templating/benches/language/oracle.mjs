// Renders one of the benchmark's cases with one of the JavaScript engines and says how long each operation took.
// argv: the engine, and the directory that has it. The first line on stdin is the case; each further line asks for one
// operation.
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const [engine, modules] = process.argv.slice(2);
const require = createRequire(pathToFileURL(join(modules, 'bench.js')));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { case: given, path } = JSON.parse((await lines.next()).value);

function nunjitsu() {
  const { createTemplateRenderer } = require('nunjitsu');
  const renderer = createTemplateRenderer();
  return one => {
    const first = renderer.prepareContext(one.context);
    const fresh = () => {
      if (one.updates.length === 0) return one.sources.map(source => renderer.render(source, first)).join('');
      let context = first;
      return one.updates.map(update => {
        context = context.withValue(path, update);
        return one.sources.map(source => renderer.render(source, context)).join('');
      }).join('');
    };
    return { fresh };
  };
}

function nunjucks() {
  const library = require('nunjucks');
  const environment = new library.Environment(null, {
    autoescape: false, noCache: true, tags: { variableStart: '${{', variableEnd: '}}' },
  });
  const set = (context, value) => {
    const holder = path.slice(0, -1).reduce((at, key) => at[key], context);
    holder[path.at(-1)] = value;
  };
  return one => {
    const context = structuredClone(one.context);
    const run = templates => {
      if (one.updates.length === 0) return templates.map(render => render(context)).join('');
      return one.updates.map(update => {
        set(context, update);
        return templates.map(render => render(context)).join('');
      }).join('');
    };
    const fresh = () => run(one.sources.map(source => data => environment.renderString(source, data)));
    const templates = one.sources.map(source => new library.Template(source, environment, undefined, true));
    const compiled = templates.map(template => data => template.render(data));
    return { fresh, parsed: () => run(compiled) };
  };
}

const prepare = await { nunjitsu, nunjucks }[engine]();
const runner = prepare(given);
for await (const line of lines) {
  const { kind, output } = JSON.parse(line);
  const run = runner[kind];
  if (!run) {
    console.log('null');
    continue;
  }
  const start = performance.now();
  const text = run();
  const ms = performance.now() - start;
  console.log(JSON.stringify(output ? { ms, text } : { ms }));
}
