// Evaluates templates with the reference implementations: one JSON object a line in, one a line out, in order.
//
//   in:  {"engine": "nunjitsu" | "nunjucks-3", "source": …, "context": {…}, "mode": "value" | "text",
//         "cookiecutter": bool, "trimBlocks": bool, "lstripBlocks": bool}
//   out: {"value": <notation>} or {"error": {"name": …, "message": …}}
//
// The first line out names the versions. The first argument is the directory whose node_modules is used.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(`${process.argv.at(-1)}/`);
const { createTemplateRenderer } = require('nunjitsu');
const nunjucks = require('nunjucks');

/** A value without loss: JSON, and `undefined`, `NaN`, `Infinity`, `-Infinity`, `-0` where JSON has nothing. */
function notation(value) {
  if (value === null || value === undefined || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${Array.from(value, notation).join(',')}]`;
  if (typeof value === 'object') {
    return `{${Object.keys(value).map(key => `${JSON.stringify(key)}:${notation(value[key])}`).join(',')}}`;
  }
  throw new Error(`a template gave a ${typeof value}`);
}

function nunjitsu(request) {
  const renderer = createTemplateRenderer({
    allowRegexExecution: true,
    cookiecutterCompat: request.cookiecutter,
    trimBlocks: request.trimBlocks,
    lstripBlocks: request.lstripBlocks,
  });
  const method = request.mode === 'text' ? 'render' : 'renderValue';
  return renderer[method](request.source, request.context);
}

let leaveCompat;

// What `@backstage/plugin-scaffolder-backend` did up to 4.0.2 for files (`text`) and step values (`value`).
function nunjucks3(request) {
  const tags = { variableStart: request.cookiecutter ? '{{' : '${{', variableEnd: '}}' };
  const options = { autoescape: false, trimBlocks: request.trimBlocks, lstripBlocks: request.lstripBlocks, tags };
  if (request.cookiecutter) {
    leaveCompat ??= nunjucks.installJinjaCompat();
  } else if (leaveCompat) {
    leaveCompat();
    leaveCompat = undefined;
  }
  const environment = new nunjucks.Environment(null, options);
  if (request.cookiecutter) environment.addFilter('jsonify', environment.getFilter('dump'));
  const context = JSON.stringify(request.context);
  const render = source => environment.renderString(source, JSON.parse(context));
  if (request.mode === 'text') return render(request.source);
  try {
    const root = nunjucks.parser.parse(request.source, {}, { autoescape: false, tags });
    const [only] = root.children;
    if (root.children.length === 1 && !(only?.children?.[0] instanceof nunjucks.nodes.TemplateData)) {
      const text = render(request.source.replace(/\${{(.+)}}/g, '${{ ( $1 ) | dump }}'));
      return text === '' ? undefined : JSON.parse(text);
    }
  } catch {
    // The older scaffolder fell back to plain text as well.
  }
  const text = render(request.source);
  return text === '' ? undefined : text;
}

const engines = { nunjitsu, 'nunjucks-3': nunjucks3 };
const answer = line => process.stdout.write(`${JSON.stringify(line)}\n`);

answer({
  node: process.versions.node,
  nunjitsu: require('nunjitsu/package.json').version,
  nunjucks: require('nunjucks/package.json').version,
});

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const request = JSON.parse(line);
  try {
    const value = engines[request.engine](request);
    // A file is written in UTF-8, where a lone half of a character becomes U+FFFD.
    answer({ value: notation(request.mode === 'text' ? value.toWellFormed() : value) });
  } catch (error) {
    answer({ error: { name: String(error?.name), message: String(error?.message).toWellFormed() } });
  }
}
