'use strict';
// drive.js SETTINGS: goes through the portal as three people. SETTINGS is JSON:
//   app         where the portal is
//   scaffolder  base URL of the scaffolder's API
//   sitePort    port for the site that templates read from
//   shots       an existing folder for screenshots
//   patience    milliseconds that a page may take to show what it should
// A JSON line for each step; ends with 0 when all of them showed what they should.
const { Session } = require('./session');
const { startSite } = require('./site');
const { tour } = require('./tour');
const { conditional, denied } = require('./policies');

async function as(settings, person, act) {
  const session = await Session.open(settings, person);
  try {
    return await act(session);
  } finally {
    await session.close();
  }
}

async function main() {
  const settings = JSON.parse(process.argv[2]);
  const site = await startSite(settings.sitePort);
  try {
    const { greeting } = await as(settings, undefined, session => tour(session, site));
    await as(settings, 'dora', session => denied(session, site));
    await as(settings, 'ida', session => conditional(session, site, greeting));
  } finally {
    await site.stop();
  }
}

main().catch(error => {
  console.error(error.message);
  process.exitCode = 1;
});
